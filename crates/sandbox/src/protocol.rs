//! What server and launcher say to each other: one message per datagram, checked for length, without secrets.
//!
//! Pure functions from bytes to values and back. All numbers are little endian; a path is its length (`u16`) and its
//! bytes. A message is refused as a whole when anything in it is off.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

use crate::{Mechanism, Probe, Report, Request, SandboxId, Tier, cgroup::Version};

/// Longest message.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// Most ports in one request.
pub(crate) const PORTS_MAX: usize = 8;
/// Most descriptors with one message: process, five files of a control group, listeners.
pub(crate) const FILES_MAX: usize = 6 + PORTS_MAX;
/// Longest path.
const PATH_BYTES_MAX: usize = 4_095;
/// Longest text of an error or a probe.
const TEXT_BYTES_MAX: usize = 512;

/// What the launcher is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// First of all: lay out the root and find out what can be done. Answered by a report.
    Prepare {
        runtime_dir: PathBuf,
        memory_bytes_total: u64,
        /// See [`crate::Options::weak_dir`].
        weak_dir: Option<PathBuf>,
    },
    /// Bind a host path, read-only, into every sandbox made from now on.
    Provide {
        host: PathBuf,
        inside: PathBuf,
    },
    /// Comes with three descriptors: frame socket, output, status. Answered with the sandbox's descriptors.
    Launch {
        id: SandboxId,
        request: Request,
    },
    Assign {
        id: SandboxId,
        request: Request,
    },
    /// Not answered.
    Kill {
        id: SandboxId,
    },
    Reap {
        id: SandboxId,
    },
}

/// What the launcher answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Done,
    /// Comes with descriptors: the process, the files of its control group that there are, in the order of the fields, and
    /// listeners.
    Launched(GroupFiles),
    Report(Report),
    Failed {
        step: String,
        errno: i32,
    },
}

/// Which files of a sandbox's control group there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct GroupFiles {
    /// Three that tell of memory.
    pub usage: bool,
    /// Two that rank it.
    pub rank: Option<Version>,
    /// One that stops it.
    pub freezer: Option<Version>,
}

impl GroupFiles {
    fn bits(self) -> u8 {
        let of = |version| match version {
            None => 0,
            Some(Version::One) => 1,
            Some(Version::Two) => 2,
        };
        u8::from(self.usage) | of(self.rank) << 1 | of(self.freezer) << 3
    }

    fn from_bits(bits: u8) -> Result<GroupFiles, Malformed> {
        let of = |bits| match bits {
            0 => Ok(None),
            1 => Ok(Some(Version::One)),
            2 => Ok(Some(Version::Two)),
            _ => Err(Malformed),
        };
        Ok(GroupFiles { usage: bits & 1 != 0, rank: of(bits >> 1 & 3)?, freezer: of(bits >> 3)? })
    }
}

/// A message that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message between server and launcher is malformed or too long")]
pub(crate) struct Malformed;

const PREPARE: u8 = 1;
const PROVIDE: u8 = 2;
const LAUNCH: u8 = 3;
const ASSIGN: u8 = 4;
const KILL: u8 = 5;
const REAP: u8 = 6;
const DONE: u8 = 128;
const REPORT: u8 = 129;
const FAILED: u8 = 130;
const LAUNCHED: u8 = 131;

/// The order is the wire's, as [`Mechanism::ALL`] is for mechanisms: both ends are the same program.
const TIERS: [Tier; 4] = [Tier::C, Tier::B, Tier::A2, Tier::A1];

impl Command {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Malformed> {
        let mut writer = Writer(Vec::with_capacity(128));
        match self {
            Command::Prepare { runtime_dir, memory_bytes_total, weak_dir } => {
                writer.byte(PREPARE);
                writer.path(runtime_dir)?;
                writer.u64(*memory_bytes_total);
                writer.optional_path(weak_dir.as_deref())?;
            }
            Command::Provide { host, inside } => {
                writer.byte(PROVIDE);
                writer.path(host)?;
                writer.path(inside)?;
            }
            Command::Launch { id, request } => writer.request(LAUNCH, *id, request)?,
            Command::Assign { id, request } => writer.request(ASSIGN, *id, request)?,
            Command::Kill { id } => writer.id(KILL, *id),
            Command::Reap { id } => writer.id(REAP, *id),
        }
        writer.finish()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Command, Malformed> {
        let mut reader = Reader::new(bytes)?;
        let command = match reader.byte()? {
            PREPARE => Command::Prepare {
                runtime_dir: reader.path()?,
                memory_bytes_total: reader.u64()?,
                weak_dir: reader.optional_path()?,
            },
            PROVIDE => Command::Provide { host: reader.path()?, inside: reader.path()? },
            LAUNCH => Command::Launch { id: reader.u64()?, request: reader.request()? },
            ASSIGN => Command::Assign { id: reader.u64()?, request: reader.request()? },
            KILL => Command::Kill { id: reader.u64()? },
            REAP => Command::Reap { id: reader.u64()? },
            _ => return Err(Malformed),
        };
        reader.finish(command)
    }
}

impl Reply {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Malformed> {
        let mut writer = Writer(Vec::with_capacity(64));
        match self {
            Reply::Done => writer.byte(DONE),
            Reply::Launched(files) => {
                writer.byte(LAUNCHED);
                writer.byte(files.bits());
            }
            Reply::Failed { step, errno } => {
                writer.byte(FAILED);
                writer.0.extend_from_slice(&errno.to_le_bytes());
                writer.text(step)?;
            }
            Reply::Report(report) => {
                writer.byte(REPORT);
                writer.byte(place(&TIERS, report.tier)?);
                writer.byte(u8::try_from(report.probes.len()).map_err(|_| Malformed)?);
                for probe in &report.probes {
                    writer.byte(place(&Mechanism::ALL, probe.mechanism)?);
                    let (found, text) = match &probe.outcome {
                        Ok(text) => (1, text),
                        Err(text) => (0, text),
                    };
                    writer.byte(found);
                    writer.text(text)?;
                }
            }
        }
        writer.finish()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Reply, Malformed> {
        let mut reader = Reader::new(bytes)?;
        let reply = match reader.byte()? {
            DONE => Reply::Done,
            LAUNCHED => Reply::Launched(GroupFiles::from_bits(reader.byte()?)?),
            FAILED => Reply::Failed { errno: i32::from_le_bytes(reader.array()?), step: reader.text()? },
            REPORT => {
                let tier = *TIERS.get(usize::from(reader.byte()?)).ok_or(Malformed)?;
                let count = reader.byte()?;
                let probes = (0..count).map(|_| reader.probe()).collect::<Result<_, _>>()?;
                Reply::Report(Report { tier, probes })
            }
            _ => return Err(Malformed),
        };
        reader.finish(reply)
    }
}

fn place<T: Copy + PartialEq>(all: &[T], one: T) -> Result<u8, Malformed> {
    all.iter().position(|other| *other == one).and_then(|place| u8::try_from(place).ok()).ok_or(Malformed)
}

/// Absolute, without `..`, and not too long: what may be given to the launcher as a path.
fn check_path(path: &Path) -> Result<(), Malformed> {
    let bytes = path.as_os_str().as_bytes();
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let fits = !bytes.contains(&0) && bytes.len() <= PATH_BYTES_MAX;
    if path.is_absolute() && plain && fits { Ok(()) } else { Err(Malformed) }
}

struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn u64(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn u32(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn id(&mut self, kind: u8, id: SandboxId) {
        self.byte(kind);
        self.u64(id);
    }

    fn counted(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let length = u16::try_from(bytes.len()).map_err(|_| Malformed)?;
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn path(&mut self, path: &Path) -> Result<(), Malformed> {
        check_path(path)?;
        self.counted(path.as_os_str().as_bytes())
    }

    fn optional_path(&mut self, path: Option<&Path>) -> Result<(), Malformed> {
        match path {
            Some(path) => self.path(path),
            None => self.counted(&[]),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), Malformed> {
        let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
        self.counted(text.get(..end.unwrap_or(0)).unwrap_or_default().as_bytes())
    }

    fn request(&mut self, kind: u8, id: SandboxId, request: &Request) -> Result<(), Malformed> {
        self.id(kind, id);
        self.u64(request.memory_bytes);
        self.u64(request.tmp_bytes);
        self.u32(request.cpu_millis);
        self.u32(request.cpu_weight);
        self.optional_path(request.code.as_deref())?;
        self.optional_path(request.layers.as_deref())?;
        let count = u8::try_from(request.ports.len()).ok().filter(|count| usize::from(*count) <= PORTS_MAX);
        self.byte(count.ok_or(Malformed)?);
        for port in &request.ports {
            self.0.extend_from_slice(&port.to_le_bytes());
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<u8>, Malformed> {
        if self.0.len() > MESSAGE_BYTES_MAX { Err(Malformed) } else { Ok(self.0) }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() > MESSAGE_BYTES_MAX { Err(Malformed) } else { Ok(Reader(bytes)) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*array)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    fn counted(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::from(u16::from_le_bytes(self.array()?));
        let (part, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(part)
    }

    fn path(&mut self) -> Result<PathBuf, Malformed> {
        let path = Path::new(OsStr::from_bytes(self.counted()?));
        check_path(path)?;
        Ok(path.to_path_buf())
    }

    fn optional_path(&mut self) -> Result<Option<PathBuf>, Malformed> {
        match self.0.first_chunk() {
            Some([0, 0]) => self.counted().map(|_| None),
            _ => self.path().map(Some),
        }
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let text = self.counted()?;
        if text.len() > TEXT_BYTES_MAX {
            return Err(Malformed);
        }
        str::from_utf8(text).map(str::to_owned).map_err(|_| Malformed)
    }

    fn probe(&mut self) -> Result<Probe, Malformed> {
        let mechanism = *Mechanism::ALL.get(usize::from(self.byte()?)).ok_or(Malformed)?;
        let outcome = match self.byte()? {
            1 => Ok(self.text()?),
            0 => Err(self.text()?),
            _ => return Err(Malformed),
        };
        Ok(Probe { mechanism, outcome })
    }

    fn request(&mut self) -> Result<Request, Malformed> {
        Ok(Request {
            memory_bytes: self.u64()?,
            tmp_bytes: self.u64()?,
            cpu_millis: self.u32()?,
            cpu_weight: self.u32()?,
            code: self.optional_path()?,
            layers: self.optional_path()?,
            ports: {
                let count = usize::from(self.byte()?);
                if count > PORTS_MAX {
                    return Err(Malformed);
                }
                (0..count).map(|_| self.array().map(u16::from_le_bytes)).collect::<Result<_, _>>()?
            },
        })
    }

    fn finish<T>(self, value: T) -> Result<T, Malformed> {
        if self.0.is_empty() { Ok(value) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests;
