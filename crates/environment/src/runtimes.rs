//! Which runtime identifiers exist, and which of them can run on this node.
//!
//! Source: AWS Lambda Developer Guide, "Lambda runtimes"; API reference, "CreateFunction".

use std::{
    ffi::OsString,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::options::{DeprecatedRuntimes, Options};

/// Every identifier of AWS's enumeration that a caller may name, in AWS's order.
pub const ENUM: &[&str] = &[
    "nodejs",
    "nodejs4.3",
    "nodejs6.10",
    "nodejs8.10",
    "nodejs10.x",
    "nodejs12.x",
    "nodejs14.x",
    "nodejs16.x",
    "nodejs18.x",
    "nodejs20.x",
    "nodejs22.x",
    "nodejs24.x",
    "java8",
    "java8.al2",
    "java11",
    "java17",
    "java21",
    "java25",
    "python2.7",
    "python3.6",
    "python3.7",
    "python3.8",
    "python3.9",
    "python3.10",
    "python3.11",
    "python3.12",
    "python3.13",
    "python3.14",
    "dotnetcore1.0",
    "dotnetcore2.0",
    "dotnetcore2.1",
    "dotnetcore3.1",
    "dotnet6",
    "dotnet8",
    "dotnet10",
    "nodejs4.3-edge",
    "go1.x",
    "ruby2.5",
    "ruby2.7",
    "ruby3.2",
    "ruby3.3",
    "ruby3.4",
    "ruby4.0",
    "provided",
    "provided.al2",
    "provided.al2023",
    "nodejs26.x",
    "python3.15",
    "java8.al2023",
    "java11.al2023",
    "java17.al2023",
    "custom",
];

/// Identifiers AWS no longer takes for creating or updating, of the families run here.
const DEPRECATED: &[&str] = &[
    "nodejs",
    "nodejs4.3",
    "nodejs6.10",
    "nodejs8.10",
    "nodejs10.x",
    "nodejs12.x",
    "nodejs14.x",
    "nodejs16.x",
    "nodejs18.x",
    "nodejs4.3-edge",
    "python2.7",
    "python3.6",
    "python3.7",
    "python3.8",
    "provided",
];

/// How long an interpreter may take to tell its version, seconds.
const PROBE_S_MAX: u64 = 10;

/// The language a runtime identifier asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// `nodejs*`.
    Node,
    /// `python*`.
    Python,
    /// `provided*`: the function brings its own runtime, which speaks the HTTP Runtime API.
    Provided,
}

/// Major and minor version.
pub type Version = (u32, u32);

/// An interpreter found on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// The executable itself, wrappers resolved.
    pub path: PathBuf,
    /// What it calls itself.
    pub version: Version,
}

/// The interpreters of this node, and how strictly identifiers are held against them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Installed {
    /// Node, if it answered.
    pub node: Option<Interpreter>,
    /// Python 3, if it answered.
    pub python: Option<Interpreter>,
    /// See [`Options::deprecated_runtimes`].
    pub deprecated: DeprecatedRuntimes,
    /// See [`Options::newer_runtimes`].
    pub newer: bool,
}

/// What a runtime identifier comes to on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The language.
    pub family: Family,
    /// The interpreter that will run it; without a path or version where the function brings its own.
    pub interpreter: Interpreter,
    /// Whether `(event, context, callback)` handlers are served; from Node 24 on they are not.
    pub callbacks: bool,
    /// Text for the caller when the identifier is deprecated or newer than the interpreter.
    pub warning: Option<String>,
}

/// Why an identifier is not taken. Answered as 400 `InvalidParameterValueException` with this text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// AWS's wording where AWS has one.
    pub message: String,
}

impl Installed {
    /// Asks the interpreters named in `options` for their versions by running them; call it once, at start.
    #[must_use]
    pub fn probe(options: &Options) -> Installed {
        let find = |path: &Option<PathBuf>, family| path.as_deref().and_then(|path| probe(path, family));
        Installed {
            node: find(&options.node, Family::Node),
            python: find(&options.python, Family::Python),
            deprecated: options.deprecated_runtimes,
            newer: options.newer_runtimes,
        }
    }

    /// Every identifier that [`runnable`] accepts, for AWS's enum error.
    #[must_use]
    pub fn identifiers(&self) -> Vec<&'static str> {
        ENUM.iter().copied().filter(|identifier| runnable(identifier, self).is_ok()).collect()
    }
}

/// Decides whether functions with this runtime can run on this node, and on what.
///
/// # Errors
/// [`Refusal`] with AWS's text for unknown and (when so configured) deprecated identifiers, and with a plain one for
/// identifiers that AWS knows and this node has no interpreter for.
pub fn runnable(identifier: &str, installed: &Installed) -> Result<Resolved, Refusal> {
    if !ENUM.contains(&identifier) {
        return Err(Refusal { message: not_in_enum(identifier, installed) });
    }
    let Some((family, wanted)) = parse(identifier) else {
        return Err(Refusal { message: unavailable(identifier, "functions of this family are not supported") });
    };
    let deprecated = DEPRECATED.contains(&identifier);
    if deprecated && installed.deprecated == DeprecatedRuntimes::Reject {
        return Err(Refusal {
            message: format!(
                "The runtime parameter of {identifier} is no longer supported for creating or updating AWS Lambda \
                 functions. We recommend you use a supported runtime while creating or updating functions."
            ),
        });
    }
    let interpreter = match family {
        Family::Node => installed.node.as_ref(),
        Family::Python => installed.python.as_ref(),
        Family::Provided => {
            let warning = deprecated.then(|| format!("The runtime {identifier} is deprecated."));
            let interpreter = Interpreter { path: PathBuf::new(), version: (0, 0) };
            return Ok(Resolved { family, interpreter, callbacks: true, warning });
        }
    };
    let Some(interpreter) = interpreter.filter(|found| found.version.0 >= 3) else {
        return Err(Refusal { message: unavailable(identifier, "its interpreter is not installed") });
    };
    if family == Family::Python && wanted.0 < 3 {
        return Err(Refusal { message: unavailable(identifier, "its interpreter is not installed") });
    }
    let found = match family {
        Family::Node => (interpreter.version.0, 0),
        Family::Python | Family::Provided => interpreter.version,
    };
    let newer = wanted > found;
    if newer && !installed.newer {
        let (name, prefix, option) = match family {
            Family::Node => (format!("Node {}", found.0), format!("nodejs{}.x", found.0), "--node"),
            Family::Python | Family::Provided => {
                (format!("Python {}.{}", found.0, found.1), format!("python{}.{}", found.0, found.1), "--python")
            }
        };
        let why = format!(
            "{name} is installed, which is older. Use {prefix} or lower, or start the server with {option} PATH of a newer one"
        );
        return Err(Refusal { message: unavailable(identifier, &why) });
    }
    let warning = (deprecated || newer).then(|| {
        format!(
            "The runtime {identifier} is {}; the function runs on {} {}.{}.",
            if deprecated { "deprecated" } else { "newer than the interpreter installed" },
            if family == Family::Node { "Node" } else { "Python" },
            interpreter.version.0,
            interpreter.version.1,
        )
    });
    let callbacks = family != Family::Node || wanted.0 < 24;
    Ok(Resolved { family, interpreter: interpreter.clone(), callbacks, warning })
}

/// Names of variables that take effect only while a process starts: a function that sets one cannot be put into a
/// process that waits for it.
///
/// Source: Node.js documentation, "Command-line API"; Python documentation, "Command line and environment"; ld.so(8).
#[must_use]
pub fn is_read_at_start(name: &str) -> bool {
    const NAMES: &[&str] = &[
        EXEC_WRAPPER,
        "GCONV_PATH",
        "LANG",
        "LOCPATH",
        "NLSPATH",
        "OPENSSL_CONF",
        "OPENSSL_MODULES",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "UV_THREADPOOL_SIZE",
        "UV_USE_IO_URING",
    ];
    const PREFIXES: &[&str] = &["GLIBC_", "LC_", "LD_", "MALLOC_", "NODE_", "PYTHON"];
    const LATER: &[&str] = &["NODE_ENV", "NODE_PATH", "NODE_TLS_REJECT_UNAUTHORIZED"];
    let prefixed = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    NAMES.contains(&name) || prefixed && !LATER.contains(&name)
}

/// The variable that names a program to start the runtime with.
pub const EXEC_WRAPPER: &str = "AWS_LAMBDA_EXEC_WRAPPER";

/// Starts a wrapper, in the words of AWS's runtimes when it cannot be.
const WRAP: &str = "[ -f \"$1\" ] || { echo \"$1: does not exist\"; exit 127; }; \
     [ -x \"$1\" ] || { echo \"$1: is not an executable\"; exit 126; }; exec \"$@\"";

/// The command that starts a runtime by way of a wrapper, which gets the runtime's own command as its arguments and is
/// expected to execute it, changed or not. Program and arguments.
///
/// Source: AWS Lambda Developer Guide, "Modifying the runtime environment".
#[must_use]
pub fn wrapped(wrapper: &Path, program: &Path, arguments: &[OsString]) -> (PathBuf, Vec<OsString>) {
    let own = ["-c".into(), WRAP.into(), "bootstrap".into(), wrapper.into(), program.into()];
    (PathBuf::from("/bin/sh"), own.into_iter().chain(arguments.iter().cloned()).collect())
}

/// Finds the program a custom runtime starts with: `bootstrap` in the code or, if not there, in the layers. `code` and
/// `layers` are directories on this host; which of the two has it is `true` for the code.
///
/// # Errors
/// The text AWS gives with an error of type `Runtime.InvalidEntrypoint`.
pub fn entrypoint(code: &Path, layers: Option<&Path>) -> Result<bool, String> {
    for (directory, inside, is_code) in [(Some(code), "/var/task", true), (layers, "/opt", false)] {
        let Some(found) = directory.and_then(|directory| directory.join("bootstrap").metadata().ok()) else { continue };
        if found.is_dir() {
            continue;
        }
        if found.permissions().mode() & 0o111 == 0 {
            return Err(format!("fork/exec {inside}/bootstrap: permission denied"));
        }
        return Ok(is_code);
    }
    Err("Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]".to_owned())
}

fn not_in_enum(identifier: &str, installed: &Installed) -> String {
    format!(
        "Value {identifier} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [{}] or be \
         a valid ARN",
        installed.identifiers().join(", ")
    )
}

fn unavailable(identifier: &str, why: &str) -> String {
    format!("The runtime {identifier} is not available on this server: {why}.")
}

/// Family and version an identifier asks for; Node counts by major version alone.
fn parse(identifier: &str) -> Option<(Family, Version)> {
    if let Some(version) = identifier.strip_prefix("nodejs") {
        // Plain `nodejs` was Node 0.10.
        let major = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
        return Some((Family::Node, (major, 0)));
    }
    if matches!(identifier, "provided" | "provided.al2" | "provided.al2023") {
        return Some((Family::Provided, (0, 0)));
    }
    let (major, minor) = identifier.strip_prefix("python")?.split_once('.')?;
    Some((Family::Python, (major.parse().ok()?, minor.parse().ok()?)))
}

/// Runs an interpreter to learn its true path and version. `None` if it does not answer in time or makes no sense.
fn probe(path: &Path, family: Family) -> Option<Interpreter> {
    let arguments: [&str; 2] = match family {
        Family::Provided => return None,
        Family::Node => ["-p", "process.execPath + '\\n' + process.versions.node"],
        Family::Python => ["-c", "import sys; print(sys.executable); print('%d.%d' % sys.version_info[:2])"],
    };
    let mut child = Command::new(path)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| tracing::warn!(path = %path.display(), %error, "an interpreter does not start"))
        .ok()?;
    let started = Instant::now();
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status.success(),
            Ok(None) if started.elapsed() < Duration::from_secs(PROBE_S_MAX) => {
                std::thread::sleep(Duration::from_millis(2));
            }
            _ => break false,
        }
    };
    if !ended {
        let _ = child.kill();
        let _ = child.wait();
        tracing::warn!(path = %path.display(), "an interpreter does not tell its version");
        return None;
    }
    let mut text = String::new();
    child.stdout.take()?.take(16 * 1024).read_to_string(&mut text).ok()?;
    let (executable, version) = text.trim().split_once('\n')?;
    let mut numbers = version.split('.').map(|number| number.trim().parse().ok());
    Some(Interpreter { path: PathBuf::from(executable), version: (numbers.next()??, numbers.next()??) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(major: u32, python: Option<Version>, deprecated: DeprecatedRuntimes, newer: bool) -> Installed {
        Installed {
            node: Some(Interpreter { path: "/usr/bin/node".into(), version: (major, 1) }),
            python: python.map(|version| Interpreter { path: "/usr/bin/python3".into(), version }),
            deprecated,
            newer,
        }
    }

    #[test]
    fn identifiers_are_held_against_what_is_installed() {
        use DeprecatedRuntimes::{Accept, Reject};
        let accepting = node(20, Some((3, 11)), Accept, false);
        let rejecting = node(20, Some((3, 11)), Reject, false);
        let bare = node(20, None, Accept, false);
        for (identifier, installed, expected) in [
            ("nodejs6.10", &accepting, true),
            ("nodejs", &accepting, true),
            ("nodejs18.x", &accepting, true),
            ("nodejs20.x", &accepting, true),
            ("nodejs22.x", &accepting, false),
            ("python3.6", &accepting, true),
            ("python3.11", &accepting, true),
            ("python3.12", &accepting, false),
            ("python2.7", &accepting, false),
            ("provided.al2023", &accepting, true),
            ("provided", &accepting, true),
            ("provided", &rejecting, false),
            ("provided.al2", &bare, true),
            ("java21", &accepting, false),
            ("cobol", &accepting, false),
            ("nodejs6.10", &rejecting, false),
            ("nodejs20.x", &rejecting, true),
            ("python3.11", &bare, false),
        ] {
            assert_eq!(runnable(identifier, installed).is_ok(), expected, "{identifier}");
        }
    }

    #[test]
    fn deprecated_names_warn_and_newest_lose_callbacks() {
        let installed = node(24, None, DeprecatedRuntimes::Accept, false);
        let old = runnable("nodejs6.10", &installed).unwrap();
        assert!(old.callbacks && old.warning.unwrap().contains("deprecated"));
        assert!(runnable("nodejs22.x", &installed).unwrap().callbacks);
        assert!(!runnable("nodejs24.x", &installed).unwrap().callbacks);
    }

    #[test]
    fn a_custom_runtime_starts_where_aws_looks_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let (code, layers) = (directory.path().join("code"), directory.path().join("layers"));
        for made in [&code, &layers] {
            std::fs::create_dir(made).unwrap();
        }
        let find = || entrypoint(&code, Some(&layers));
        let missing = "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]";
        assert_eq!(find(), Err(missing.to_owned()));
        let write = |at: &Path, mode| {
            std::fs::write(at.join("bootstrap"), "").unwrap();
            std::fs::set_permissions(at.join("bootstrap"), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        write(&layers, 0o755);
        assert_eq!(find(), Ok(false));
        assert_eq!(entrypoint(&code, None), Err(missing.to_owned()));
        write(&code, 0o644);
        assert_eq!(find(), Err("fork/exec /var/task/bootstrap: permission denied".to_owned()));
        write(&code, 0o755);
        assert_eq!(find(), Ok(true));
    }

    #[test]
    fn refusals_use_the_words_of_aws() {
        let installed = node(20, None, DeprecatedRuntimes::Reject, true);
        assert_eq!(
            runnable("nodejs6.10", &installed).unwrap_err().message,
            "The runtime parameter of nodejs6.10 is no longer supported for creating or updating AWS Lambda \
             functions. We recommend you use a supported runtime while creating or updating functions."
        );
        assert_eq!(
            runnable("cobol", &installed).unwrap_err().message,
            "Value cobol at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [nodejs20.x, \
             nodejs22.x, nodejs24.x, provided.al2, provided.al2023, nodejs26.x] or be a valid ARN"
        );
        assert!(runnable("nodejs26.x", &installed).unwrap().warning.unwrap().contains("newer"));
    }
}
