//! An error inside launcher and sandbox: which step, and the host's number.

use std::{borrow::Cow, io};

use rustix::io::Errno;

use crate::Error;

/// What failed and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) step: Cow<'static, str>,
    pub(crate) errno: Errno,
}

impl Fault {
    pub(crate) fn new(step: impl Into<Cow<'static, str>>, errno: Errno) -> Self {
        Fault { step: step.into(), errno }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        let source = io::Error::from_raw_os_error(fault.errno.raw_os_error());
        Error { step: fault.step.into_owned(), source }
    }
}

/// Says at which step an error of the host came.
pub(crate) trait At<T> {
    fn at(self, step: impl Into<Cow<'static, str>>) -> Result<T, Fault>;
    /// The same for a step whose name is made only when needed.
    fn at_with(self, step: impl FnOnce() -> String) -> Result<T, Fault>;
}

impl<T, E: IntoErrno> At<T> for Result<T, E> {
    fn at(self, step: impl Into<Cow<'static, str>>) -> Result<T, Fault> {
        self.map_err(|error| Fault::new(step, error.into_errno()))
    }

    fn at_with(self, step: impl FnOnce() -> String) -> Result<T, Fault> {
        self.map_err(|error| Fault::new(step(), error.into_errno()))
    }
}

/// What carries an error number of the host.
pub(crate) trait IntoErrno {
    fn into_errno(self) -> Errno;
}

impl IntoErrno for Errno {
    fn into_errno(self) -> Errno {
        self
    }
}

impl IntoErrno for io::Error {
    fn into_errno(self) -> Errno {
        Errno::from_io_error(&self).unwrap_or(match self.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Errno::INVAL,
            _ => Errno::IO,
        })
    }
}
