//! What a function's process is started with: command line and environment.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use lambda::invoke::Revision;

use crate::{
    launch::{API_PORT, PROXY_PORT, RUNTIME_API_PORT},
    options::RoleCredentials,
    process::Speaks,
    runtimes::{EXEC_WRAPPER, Family, Resolved, entrypoint, is_read_at_start, wrapped},
    state::{Class, Initialization},
};

/// Classes of memory that standbys are kept for, MB.
const MEMORY_CLASSES_MB: [u32; 7] = [128, 256, 512, 1_024, 1_769, 3_008, 10_240];
/// Memory of a standby of a runtime whose heap has no limit of its own, until it is adopted, MB.
const STANDBY_MB: u32 = 128;
/// What a Node standby is of.
const NODE: u8 = 1;
/// What a Python standby is of.
const PYTHON: u8 = 2;

/// Where things are, as the process sees them.
pub(crate) struct Place {
    /// The code.
    pub(crate) task: PathBuf,
    /// The bootstraps.
    pub(crate) runtime: PathBuf,
    /// The layers.
    pub(crate) opt: PathBuf,
    /// A directory of its own that is not `/tmp`.
    pub(crate) scratch: Option<PathBuf>,
    /// Whether it has a network of its own, with nothing but our listeners.
    pub(crate) own_network: bool,
    /// Where this server's API is, if that is not on a network of its own.
    pub(crate) endpoint_url: Option<String>,
}

/// Which standbys can become environments of a revision.
///
/// None can where something must be known when the runtime starts: variables that the loader, the interpreter or libc
/// read then, and for Node a heap limit that no class comes near. Classes are kept for a few sizes; a function takes
/// the largest that is not beyond its memory if that gives it at least 60 % of its memory as heap.
pub(crate) fn class(revision: &Revision) -> Option<Class> {
    let runtime = match &revision.runtime {
        name if name.starts_with("nodejs") => NODE,
        name if name.starts_with("python") => PYTHON,
        _ => return None,
    };
    if revision.environment.keys().any(|name| is_read_at_start(name)) {
        return None;
    }
    if runtime == PYTHON {
        return Some(Class { runtime, memory_mb: 0 });
    }
    let memory_mb = MEMORY_CLASSES_MB.into_iter().rev().find(|class| *class <= revision.memory_mb)?;
    (u64::from(memory_mb) * 5 >= u64::from(revision.memory_mb) * 4).then_some(Class { runtime, memory_mb })
}

/// The language of a class.
pub(crate) fn family(class: Class) -> Family {
    if class.runtime == NODE { Family::Node } else { Family::Python }
}

/// Memory a standby is started with, MB.
pub(crate) fn standby_mb(class: Class) -> u32 {
    if class.memory_mb == 0 { STANDBY_MB } else { class.memory_mb }
}

/// What starts the runtime of an environment, and how it will talk.
pub(crate) struct Command {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) speaks: Speaks,
}

/// The command for a function: its interpreter with our bootstrap, by way of its wrapper if it names one, or the
/// program it brings itself. `code` and `layers` are directories on this host, `interpreter` is as the process sees it.
///
/// # Errors
/// AWS's text for a function that brings no program to start: an error of type `Runtime.InvalidEntrypoint`.
pub(crate) fn command(
    resolved: &Resolved,
    revision: &Revision,
    place: &Place,
    (code, layers): (&Path, Option<&Path>),
    interpreter: PathBuf,
) -> Result<Command, String> {
    // Where what the function calls /var/task and /opt lies for this process.
    let seen = |inside: &Path| match (inside.strip_prefix("/opt"), inside.strip_prefix("/var/task")) {
        (Ok(rest), _) => place.opt.join(rest),
        (_, Ok(rest)) => place.task.join(rest),
        _ => inside.to_path_buf(),
    };
    if resolved.family == Family::Provided {
        let in_code = entrypoint(code, layers)?;
        let program = seen(Path::new(if in_code { "/var/task/bootstrap" } else { "/opt/bootstrap" }));
        return Ok(Command { program, arguments: Vec::new(), speaks: Speaks::Http });
    }
    let arguments = arguments(resolved.family, revision.memory_mb, place);
    match revision.environment.get(EXEC_WRAPPER).filter(|wrapper| !wrapper.is_empty()) {
        Some(wrapper) => {
            let (program, arguments) = wrapped(&seen(Path::new(wrapper)), &interpreter, &arguments);
            Ok(Command { program, arguments, speaks: Speaks::Either })
        }
        None => Ok(Command { program: interpreter, arguments, speaks: Speaks::Frames }),
    }
}

/// The interpreter's command line.
pub(crate) fn arguments(family: Family, memory_mb: u32, place: &Place) -> Vec<OsString> {
    match family {
        Family::Node => {
            // V8 takes its limits from the command line alone; three quarters leave room for what is not heap.
            let heap_mb = (u64::from(memory_mb) * 3 / 4).max(64);
            let young_mb = (memory_mb / 64).clamp(2, 16);
            vec![
                format!("--max-old-space-size={heap_mb}").into(),
                format!("--max-semi-space-size={young_mb}").into(),
                place.runtime.join("bootstrap.cjs").into(),
            ]
        }
        Family::Python => ["-B", "-s", "-S", "-X", "utf8"]
            .into_iter()
            .map(OsString::from)
            .chain([place.runtime.join("bootstrap.py").into()])
            .collect(),
        Family::Provided => Vec::new(),
    }
}

/// Variables that do not depend on the function: all that a standby is started with.
pub(crate) fn bare(resolved: &Resolved, place: &Place) -> Vec<(String, String)> {
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    let (task, runtime, opt) = (text(&place.task), text(&place.runtime), text(&place.opt));
    let mut variables: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: String| variables.push((name.into(), value));
    if place.own_network {
        let proxy = format!("http://127.0.0.1:{PROXY_PORT}");
        set("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{API_PORT}"));
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            set(name, proxy.clone());
        }
        for name in ["NO_PROXY", "no_proxy"] {
            set(name, "127.0.0.1,localhost".into());
        }
    } else if let Some(url) = &place.endpoint_url {
        set("AWS_ENDPOINT_URL", url.clone());
    }
    if let Some(scratch) = &place.scratch {
        set("TMPDIR", text(scratch));
    }
    match resolved.family {
        Family::Node => {
            let major = resolved.interpreter.version.0;
            let path = format!(
                "{opt}/nodejs/node{major}/node_modules:{opt}/nodejs/node_modules:{runtime}/node_modules:{runtime}:{task}"
            );
            set("NODE_PATH", path);
            if place.own_network {
                // Node's own clients know of the proxy only when told so.
                set("NODE_USE_ENV_PROXY", "1".into());
            }
        }
        Family::Python => set("PYTHONPATH", runtime.clone()),
        Family::Provided => {}
    }
    set("PATH", format!("/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:{opt}/bin"));
    let libraries = if place.own_network {
        format!("/var/lang/lib:/lib64:/usr/lib64:{runtime}:{runtime}/lib:{task}:{task}/lib:{opt}/lib")
    } else {
        format!("{task}:{task}/lib:{opt}/lib")
    };
    set("LD_LIBRARY_PATH", libraries);
    set("LANG", "en_US.UTF-8".into());
    set("TZ", ":UTC".into());
    variables
}

/// What is known of an environment besides its revision.
pub(crate) struct Facts<'a> {
    pub(crate) group: &'a str,
    pub(crate) stream: &'a str,
    pub(crate) initialization: Initialization,
    pub(crate) credentials: Option<RoleCredentials>,
}

/// How AWS calls the two ways an environment comes to be.
pub(crate) fn initialization_name(initialization: Initialization) -> &'static str {
    match initialization {
        Initialization::OnDemand => "on-demand",
        Initialization::Provisioned => "provisioned-concurrency",
    }
}

/// The environment of a function's process. Later entries win: what the platform sets cannot be overridden by the
/// customer, except what [`bare`] gives.
///
/// Source: AWS Lambda Developer Guide, "Working with Lambda environment variables". Without a root of its own
/// `LAMBDA_TASK_ROOT` and `LAMBDA_RUNTIME_DIR` name the true directories, and `TMPDIR` stands for `/tmp`.
pub(crate) fn variables(
    resolved: &Resolved,
    revision: &Revision,
    place: &Place,
    facts: Facts<'_>,
) -> Vec<(String, String)> {
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    let mut variables = bare(resolved, place);
    let customer = revision.environment.iter().filter(|(name, value)| {
        // These cannot be given to a process at all.
        !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
    });
    variables.extend(customer.map(|(name, value)| (name.clone(), value.clone())));
    let mut set = |name: &str, value: String| variables.push((name.into(), value));
    if let Some(credentials) = facts.credentials {
        set("AWS_ACCESS_KEY_ID", credentials.access_key_id);
        set("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key);
        set("AWS_SESSION_TOKEN", credentials.session_token);
    }
    set("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR".into());
    if resolved.family != Family::Provided {
        set("AWS_EXECUTION_ENV", format!("AWS_Lambda_{}", revision.runtime));
    }
    set("AWS_LAMBDA_RUNTIME_API", format!("127.0.0.1:{RUNTIME_API_PORT}"));
    set("AWS_REGION", revision.region.clone());
    set("AWS_DEFAULT_REGION", revision.region.clone());
    set("AWS_LAMBDA_FUNCTION_NAME", revision.function.clone());
    set("AWS_LAMBDA_FUNCTION_VERSION", revision.version.clone());
    set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", revision.memory_mb.to_string());
    set("AWS_LAMBDA_INITIALIZATION_TYPE", initialization_name(facts.initialization).into());
    if let Some(json) = &revision.logging.json {
        set("AWS_LAMBDA_LOG_FORMAT", "JSON".into());
        set("AWS_LAMBDA_LOG_LEVEL", json.application_level.clone());
    }
    set("AWS_LAMBDA_LOG_GROUP_NAME", facts.group.to_owned());
    set("AWS_LAMBDA_LOG_STREAM_NAME", facts.stream.to_owned());
    set("LAMBDA_TASK_ROOT", text(&place.task));
    set("LAMBDA_RUNTIME_DIR", text(&place.runtime));
    set("_HANDLER", revision.handler.clone());
    variables
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_standby_serves_what_needs_nothing_at_its_start() {
        let class_of = |runtime: &str, memory_mb, variable: Option<&str>| {
            let mut revision = crate::pool::blank_revision(memory_mb);
            revision.runtime = runtime.into();
            revision.environment =
                variable.map(|name| (name.to_owned(), "x".to_owned())).into_iter().collect::<BTreeMap<_, _>>();
            class(&revision).map(|class| (class.runtime, class.memory_mb))
        };
        for (runtime, memory_mb, variable, expected) in [
            ("nodejs20.x", 128, None, Some((NODE, 128))),
            ("nodejs6.10", 160, Some("TABLE_NAME"), Some((NODE, 128))),
            ("nodejs20.x", 161, None, None),
            ("nodejs20.x", 2_048, Some("NODE_ENV"), Some((NODE, 1_769))),
            ("nodejs20.x", 10_240, None, Some((NODE, 10_240))),
            ("nodejs20.x", 128, Some("NODE_OPTIONS"), None),
            ("nodejs20.x", 128, Some("LD_PRELOAD"), None),
            ("nodejs20.x", 128, Some("AWS_LAMBDA_EXEC_WRAPPER"), None),
            ("python3.11", 161, None, Some((PYTHON, 0))),
            ("python3.11", 128, Some("PYTHONHOME"), None),
            ("python3.11", 128, Some("LD_LIBRARY_PATH"), None),
            ("provided.al2023", 128, None, None),
        ] {
            assert_eq!(class_of(runtime, memory_mb, variable), expected, "{runtime} {memory_mb} {variable:?}");
        }
    }
}
