//! What a function's process is started with: command line and environment.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use lambda::invoke::Revision;

use crate::{
    launch::{Layout, RUNTIME_API_PORT},
    options::RoleCredentials,
    process::Speaks,
    runtimes::{EXEC_WRAPPER, Family, Resolved, entrypoint, wrapped},
};

/// Where an environment is.
pub(crate) struct Place<'a> {
    pub(crate) tree: PathBuf,
    pub(crate) scratch: PathBuf,
    pub(crate) runtime: PathBuf,
    pub(crate) group: &'a str,
    pub(crate) stream: &'a str,
}

/// What starts the runtime of an environment, and how it will talk.
pub(crate) struct Command {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) speaks: Speaks,
}

/// The command for a function: its interpreter with our bootstrap, by way of its wrapper if it names one, or the
/// program it brings itself. `code` and `layers` are directories on this host, `program` is the interpreter as the
/// process sees it.
///
/// # Errors
/// AWS's text for a function that brings no program to start: an error of type `Runtime.InvalidEntrypoint`.
pub(crate) fn command(
    resolved: &Resolved,
    revision: &Revision,
    place: &Place<'_>,
    (code, layers): (&Path, Option<&Path>),
    layout: Layout,
) -> Result<Command, String> {
    // Where what the function calls /var/task and /opt lies for a process that sees the host's directories.
    let seen = |inside: &Path| match (layout, inside.strip_prefix("/opt"), inside.strip_prefix("/var/task")) {
        (Layout::Host, Ok(rest), _) => layers.unwrap_or(Path::new("/opt")).join(rest),
        (Layout::Host, _, Ok(rest)) => code.join(rest),
        _ => inside.to_path_buf(),
    };
    if resolved.family == Family::Provided {
        let in_code = entrypoint(code, layers)?;
        let program = seen(Path::new(if in_code { "/var/task/bootstrap" } else { "/opt/bootstrap" }));
        return Ok(Command { program, arguments: Vec::new(), speaks: Speaks::Http });
    }
    let (program, arguments) = (resolved.interpreter.path.clone(), arguments(resolved, revision, place));
    match revision.environment.get(EXEC_WRAPPER).filter(|wrapper| !wrapper.is_empty()) {
        Some(wrapper) => {
            let (program, arguments) = wrapped(&seen(Path::new(wrapper)), &program, &arguments);
            Ok(Command { program, arguments, speaks: Speaks::Either })
        }
        None => Ok(Command { program, arguments, speaks: Speaks::Frames }),
    }
}

/// The interpreter's command line.
pub(crate) fn arguments(resolved: &Resolved, revision: &Revision, place: &Place<'_>) -> Vec<OsString> {
    match resolved.family {
        Family::Node => {
            // V8 takes its limits from the command line alone; three quarters leave room for what is not heap.
            let heap_mb = (u64::from(revision.memory_mb) * 3 / 4).max(64);
            let young_mb = (revision.memory_mb / 64).clamp(2, 16);
            vec![
                format!("--max-old-space-size={heap_mb}").into(),
                format!("--max-semi-space-size={young_mb}").into(),
                place.runtime.join("bootstrap.cjs").into(),
            ]
        }
        Family::Python => ["-B", "-s", "-X", "utf8"]
            .into_iter()
            .map(OsString::from)
            .chain([place.runtime.join("bootstrap.py").into()])
            .collect(),
        Family::Provided => Vec::new(),
    }
}

/// The environment of a function's process. Later entries win: what the platform sets cannot be overridden by the
/// customer, except the endpoint.
///
/// Source: AWS Lambda Developer Guide, "Working with Lambda environment variables". Without a mount namespace
/// `LAMBDA_TASK_ROOT` and `LAMBDA_RUNTIME_DIR` name the true directories, and `TMPDIR` stands for `/tmp`.
pub(crate) fn variables(
    resolved: &Resolved,
    revision: &Revision,
    place: &Place<'_>,
    credentials: Option<RoleCredentials>,
    endpoint_url: Option<&str>,
) -> Vec<(String, String)> {
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    let (tree, runtime) = (text(&place.tree), text(&place.runtime));
    let mut variables: Vec<(String, String)> = Vec::new();
    if let Some(url) = endpoint_url {
        variables.push(("AWS_ENDPOINT_URL".into(), url.to_owned()));
    }
    variables.push(("TMPDIR".into(), text(&place.scratch)));
    match resolved.family {
        Family::Node => {
            let major = resolved.interpreter.version.0;
            let path = format!(
                "/opt/nodejs/node{major}/node_modules:/opt/nodejs/node_modules:{runtime}/node_modules:{runtime}:{tree}"
            );
            variables.push(("NODE_PATH".into(), path));
        }
        Family::Python => variables.push(("PYTHONPATH".into(), runtime.clone())),
        Family::Provided => {}
    }
    variables.push(("PATH".into(), "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin".into()));
    variables.push(("LD_LIBRARY_PATH".into(), format!("{tree}:{tree}/lib:/opt/lib")));
    variables.push(("LANG".into(), "en_US.UTF-8".into()));
    variables.push(("TZ".into(), ":UTC".into()));
    let reserved = variables.len();
    let customer = revision.environment.iter().filter(|(name, value)| {
        // These cannot be given to a process at all.
        !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
    });
    variables.splice(reserved..reserved, customer.map(|(name, value)| (name.clone(), value.clone())));
    let mut set = |name: &str, value: String| variables.push((name.into(), value));
    if let Some(credentials) = credentials {
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
    set("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".into());
    set("AWS_LAMBDA_LOG_GROUP_NAME", place.group.to_owned());
    set("AWS_LAMBDA_LOG_STREAM_NAME", place.stream.to_owned());
    set("LAMBDA_TASK_ROOT", tree);
    set("LAMBDA_RUNTIME_DIR", runtime);
    set("_HANDLER", revision.handler.clone());
    variables
}
