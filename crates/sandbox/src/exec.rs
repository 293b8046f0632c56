//! What runs inside, on its way from the server straight into the sandbox.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
};

/// Most that an encoded [`Exec`] may have, with its length in front.
pub const EXEC_BYTES_MAX: usize = 512 * 1024;
/// Most arguments, and most variables.
const ITEMS_MAX: usize = 4_096;
/// Bytes of the length in front.
pub(crate) const HEAD_BYTES: usize = 4;

/// What runs inside: goes into the sandbox directly, past the launcher.
#[derive(Clone, PartialEq, Eq)]
pub struct Exec {
    /// Path inside the sandbox.
    pub program: PathBuf,
    /// Without the program's own name.
    pub arguments: Vec<OsString>,
    /// The whole environment; holds secrets.
    pub environment: Vec<(String, String)>,
    /// Working directory inside.
    pub directory: PathBuf,
}

// Written by hand so that no secret is printed.
impl std::fmt::Debug for Exec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exec").field("program", &self.program).finish_non_exhaustive()
    }
}

/// Why an [`Exec`] cannot be sent, or what was received is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("what is to be executed is longer than {EXEC_BYTES_MAX} bytes, or has more than {ITEMS_MAX} parts")]
    TooLong,
    #[error("a part of what is to be executed holds a NUL, or a variable's name is empty or holds `=`")]
    Forbidden,
    #[error("what is to be executed ends too early or too late")]
    Cut,
}

impl Exec {
    /// Length of the rest, working directory, program, then counted arguments and variables; each part has its length
    /// in front. All numbers are `u32` little endian.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Malformed> {
        if self.arguments.len() > ITEMS_MAX || self.environment.len() > ITEMS_MAX {
            return Err(Malformed::TooLong);
        }
        let mut bytes = vec![0; HEAD_BYTES];
        put(&mut bytes, self.directory.as_os_str().as_bytes())?;
        put(&mut bytes, self.program.as_os_str().as_bytes())?;
        put_number(&mut bytes, self.arguments.len())?;
        for argument in &self.arguments {
            put(&mut bytes, argument.as_bytes())?;
        }
        put_number(&mut bytes, self.environment.len())?;
        for (name, value) in &self.environment {
            check_name(name.as_bytes())?;
            put(&mut bytes, name.as_bytes())?;
            put(&mut bytes, value.as_bytes())?;
        }
        let length = bytes.len().checked_sub(HEAD_BYTES).and_then(|length| u32::try_from(length).ok());
        let length = length.filter(|_| bytes.len() <= EXEC_BYTES_MAX).ok_or(Malformed::TooLong)?;
        for (place, byte) in bytes.iter_mut().zip(length.to_le_bytes()) {
            *place = byte;
        }
        Ok(bytes)
    }

    /// How many bytes follow a head.
    pub(crate) fn length(head: [u8; HEAD_BYTES]) -> Result<usize, Malformed> {
        usize::try_from(u32::from_le_bytes(head))
            .ok()
            .filter(|length| *length <= EXEC_BYTES_MAX - HEAD_BYTES)
            .ok_or(Malformed::TooLong)
    }

    /// The other way round, without the head.
    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Exec, Malformed> {
        let bytes = &mut bytes;
        let directory = PathBuf::from(take(bytes)?);
        let program = PathBuf::from(take(bytes)?);
        let arguments = (0..take_count(bytes)?).map(|_| take(bytes)).collect::<Result<_, _>>()?;
        let mut environment = Vec::new();
        for _ in 0..take_count(bytes)? {
            let name = take(bytes)?;
            check_name(name.as_bytes())?;
            let text = |part: OsString| part.into_string().map_err(|_| Malformed::Forbidden);
            environment.push((text(name)?, text(take(bytes)?)?));
        }
        if bytes.is_empty() { Ok(Exec { program, arguments, environment, directory }) } else { Err(Malformed::Cut) }
    }
}

fn check_name(name: &[u8]) -> Result<(), Malformed> {
    if name.is_empty() || name.contains(&b'=') { Err(Malformed::Forbidden) } else { Ok(()) }
}

fn put_number(bytes: &mut Vec<u8>, number: usize) -> Result<(), Malformed> {
    let number = u32::try_from(number).map_err(|_| Malformed::TooLong)?;
    bytes.extend_from_slice(&number.to_le_bytes());
    Ok(())
}

fn put(bytes: &mut Vec<u8>, part: &[u8]) -> Result<(), Malformed> {
    if part.contains(&0) {
        return Err(Malformed::Forbidden);
    }
    if bytes.len().saturating_add(part.len()) > EXEC_BYTES_MAX {
        return Err(Malformed::TooLong);
    }
    put_number(bytes, part.len())?;
    bytes.extend_from_slice(part);
    Ok(())
}

fn take_number(bytes: &mut &[u8]) -> Result<usize, Malformed> {
    let (number, rest) = bytes.split_first_chunk::<4>().ok_or(Malformed::Cut)?;
    *bytes = rest;
    usize::try_from(u32::from_le_bytes(*number)).map_err(|_| Malformed::TooLong)
}

fn take_count(bytes: &mut &[u8]) -> Result<usize, Malformed> {
    let count = take_number(bytes)?;
    if count > ITEMS_MAX { Err(Malformed::TooLong) } else { Ok(count) }
}

fn take(bytes: &mut &[u8]) -> Result<OsString, Malformed> {
    let length = take_number(bytes)?;
    let (part, rest) = bytes.split_at_checked(length).ok_or(Malformed::Cut)?;
    *bytes = rest;
    if part.contains(&0) { Err(Malformed::Forbidden) } else { Ok(OsStr::from_bytes(part).to_owned()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode_whole(bytes: &[u8]) -> Result<Exec, Malformed> {
        let (head, rest) = bytes.split_first_chunk().ok_or(Malformed::Cut)?;
        if Exec::length(*head)? != rest.len() {
            return Err(Malformed::Cut);
        }
        Exec::decode(rest)
    }

    fn bare(program: &str) -> Exec {
        Exec { program: program.into(), arguments: Vec::new(), environment: Vec::new(), directory: "/".into() }
    }

    #[test]
    fn a_nul_or_a_bad_name_is_refused() {
        assert_eq!(bare("/bin/\0true").encode(), Err(Malformed::Forbidden));
        for name in ["", "A=B"] {
            let exec = Exec { environment: vec![(name.into(), "x".into())], ..bare("/bin/true") };
            assert_eq!(exec.encode(), Err(Malformed::Forbidden), "{name:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_refused_on_both_sides() {
        let exec = Exec { arguments: vec!["x".repeat(EXEC_BYTES_MAX).into()], ..bare("/bin/true") };
        assert_eq!(exec.encode(), Err(Malformed::TooLong));
        assert_eq!(Exec::length([0xff; 4]), Err(Malformed::TooLong));
        let exec = Exec { arguments: vec![OsString::new(); ITEMS_MAX + 1], ..bare("/bin/true") };
        assert_eq!(exec.encode(), Err(Malformed::TooLong));
    }

    #[test]
    fn a_secret_is_not_printed() {
        let exec = Exec { environment: vec![("KEY".into(), "hidden".into())], ..bare("/bin/true") };
        assert!(!format!("{exec:?}").contains("hidden"));
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(
            program in "/[a-z/]{1,40}",
            arguments in prop::collection::vec("[^\0]{0,20}", 0..8),
            environment in prop::collection::vec(("[A-Z_]{1,8}", "[^\0]{0,20}"), 0..8),
        ) {
            let exec = Exec {
                program: program.into(),
                arguments: arguments.into_iter().map(OsString::from).collect(),
                environment,
                directory: "/var/task".into(),
            };
            prop_assert_eq!(decode_whole(&exec.encode().unwrap()).unwrap(), exec);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Exec::decode(&bytes);
        }

        #[test]
        fn what_is_cut_is_refused(cut in 1_usize..60) {
            let whole = Exec { arguments: vec!["one".into(), "two".into()], ..bare("/usr/bin/node") }.encode().unwrap();
            let kept = whole.len().saturating_sub(cut).max(HEAD_BYTES);
            prop_assert!(Exec::decode(&whole[HEAD_BYTES..kept]).is_err());
        }
    }
}
