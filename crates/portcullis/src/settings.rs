//! Settings: flag over variable over file over default.
//!
//! Nothing below this crate reads a variable or a file of settings; each part is handed a plain struct.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::listen::Network;

mod egress;

pub use egress::policies;

/// Where AWS's local stand-ins are expected.
const LISTEN: &str = "127.0.0.1:4566";
/// Everything worth knowing, and nothing that comes with each request: what functions print is left out.
const LOG: &str = "info,function=warn,s3s=off";
/// Threads a machine could possibly have use for.
const THREADS_MAX: usize = 256;
/// Most decisions a node may be told to keep: some 300 bytes each.
const DECISIONS_MAX: usize = 10_000_000;
/// More than a machine has: 64 TiB.
const FUNCTIONS_MEMORY_MB_MAX: u64 = 64 << 20;
/// Largest file of settings.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// How often trails deliver in development, seconds: soon enough to look at.
const DEVELOPMENT_DELIVERY_S: u64 = 2;

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON document a line.
    Json,
}

/// What must keep functions apart before they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Namespaces, a root of their own, a filter of system calls, Landlock and limits (tiers A1 and A2). Where these
    /// cannot be had functions do not run.
    #[default]
    Required,
    /// Besides: users of their own, a filter of system calls and Landlock, without namespaces (tier B). Functions have no
    /// network there, and custom runtimes do not run.
    Weak,
    /// Functions are processes of this server's user and nothing more (tier C). Needs --single-tenant.
    None,
}

/// What holds a function to its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum MemoryLimit {
    /// The kernel's control groups. Where they cannot be had functions do not run.
    #[default]
    Required,
    /// Where there are no control groups, looking at it every 50 ms: a fast leak takes from the host meanwhile.
    Polling,
}

/// Whether functions reach anything outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Egress {
    /// Public addresses, and those that --egress-allow lists, through the proxy in HTTPS_PROXY.
    #[default]
    Proxy,
    /// Nothing but this server's own API.
    None,
}

/// What holds for the functions of one account, beside what holds for all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountEgress {
    /// Instead of `egress`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Egress>,
    /// Besides `egress_allow`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Besides `egress_deny`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

/// Settings that somebody gave: by flags, by variables or in a file. The field names are those of the file; a variable
/// is the same name in capitals after `PORTCULLIS_`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// Where everything durable lives [default: $XDG_DATA_HOME/portcullis or ~/.local/share/portcullis]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address and port to serve on; port 0 takes a free one [default: 127.0.0.1:4566]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<String>,
    /// Development mode: a 12-digit access key id is that account, `test` is 000000000000, no secret is checked
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub dev_credentials: Option<bool>,
    /// How often trails deliver log files, seconds [default: 300; 2 with --dev-credentials]
    #[arg(long, value_name = "N")]
    pub trail_delivery_s: Option<u64>,
    /// How often trails deliver digest files, seconds [default: 3600]
    #[arg(long, value_name = "N")]
    pub trail_digest_s: Option<u64>,
    /// The Node interpreter that runs functions [default: `node` of PATH]
    #[arg(long, value_name = "PATH")]
    pub node: Option<PathBuf>,
    /// The Python interpreter that runs functions [default: `python3` of PATH]
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// Threads of the data plane [default: as many as the machine has cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// A proxy whose X-Forwarded-For is believed: an address or a range; repeatable [default: none]
    #[arg(long = "trusted-proxy", value_name = "CIDR")]
    pub trusted_proxies: Option<Vec<String>>,
    /// How many decisions of the data plane are kept for `explain`; 0 keeps none [default: 100000]
    #[arg(long, value_name = "N")]
    pub decisions: Option<usize>,
    /// Whether answers name their decision in x-portcullis-decision [default: true]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub decision_header: Option<bool>,
    /// What must keep functions apart before they run [default: required]
    #[arg(long, value_name = "HOW")]
    pub isolation: Option<Isolation>,
    /// With --isolation none: this server has one account, and everybody who uses it trusts its functions
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub single_tenant: Option<bool>,
    /// What holds a function to its memory [default: required]
    #[arg(long, value_name = "HOW")]
    pub memory_limit: Option<MemoryLimit>,
    /// Memory of all functions together, MB; 0 leaves it to the host [default: three quarters of the machine's]
    #[arg(long, value_name = "N")]
    pub functions_memory_mb: Option<u64>,
    /// Whether runtimes are kept started for functions to come, so that a cold start takes a few milliseconds
    /// [default: true]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub standbys: Option<bool>,
    /// Whether functions stand still between invocations, as on AWS, where the host has a freezer [default: true]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub freeze: Option<bool>,
    /// Whether streamed responses are slowed down as Lambda does it: 2 MB/s after the first 6 MB [default: false]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub stream_shaping: Option<bool>,
    /// Whether functions reach anything outside [default: proxy]
    #[arg(long, value_name = "HOW")]
    pub egress: Option<Egress>,
    /// What functions reach beside public addresses: 10.0.0.0/8, 10.1.2.3:443, db.internal:5432; repeatable
    #[arg(long, value_name = "PLACE")]
    pub egress_allow: Option<Vec<String>>,
    /// What functions never reach, in the same form; repeatable
    #[arg(long, value_name = "PLACE")]
    pub egress_deny: Option<Vec<String>>,
    /// What holds for single accounts. In the file only: `[egress_accounts.111111111111]` with mode, allow and deny.
    #[arg(skip)]
    pub egress_accounts: Option<BTreeMap<String, AccountEgress>>,
    /// Code of a function under work: saved files run within a moment, for new invocations. FUNCTION is a name or an
    /// ARN; repeatable
    #[arg(long, value_name = "FUNCTION=DIR")]
    pub watch: Option<Vec<String>>,
    /// Directory below which functions may be created from a directory: S3Bucket=hot-reload, S3Key=/absolute/directory
    #[arg(long, value_name = "DIR")]
    pub hot_reload: Option<PathBuf>,
    /// What is logged: error, warn, info, debug, trace, or a filter such as `info,control=debug`; `info` shows what
    /// functions print [default: info,function=warn,s3s=off]
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
    /// How it is logged, on standard error [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

impl Given {
    /// These settings, and `below` where there are none.
    fn over(self, below: Self) -> Self {
        Self {
            data_dir: self.data_dir.or(below.data_dir),
            listen: self.listen.or(below.listen),
            dev_credentials: self.dev_credentials.or(below.dev_credentials),
            trail_delivery_s: self.trail_delivery_s.or(below.trail_delivery_s),
            trail_digest_s: self.trail_digest_s.or(below.trail_digest_s),
            node: self.node.or(below.node),
            python: self.python.or(below.python),
            threads: self.threads.or(below.threads),
            trusted_proxies: self.trusted_proxies.or(below.trusted_proxies),
            decisions: self.decisions.or(below.decisions),
            decision_header: self.decision_header.or(below.decision_header),
            isolation: self.isolation.or(below.isolation),
            single_tenant: self.single_tenant.or(below.single_tenant),
            memory_limit: self.memory_limit.or(below.memory_limit),
            functions_memory_mb: self.functions_memory_mb.or(below.functions_memory_mb),
            standbys: self.standbys.or(below.standbys),
            freeze: self.freeze.or(below.freeze),
            stream_shaping: self.stream_shaping.or(below.stream_shaping),
            egress: self.egress.or(below.egress),
            egress_allow: self.egress_allow.or(below.egress_allow),
            egress_deny: self.egress_deny.or(below.egress_deny),
            egress_accounts: self.egress_accounts.or(below.egress_accounts),
            watch: self.watch.or(below.watch),
            hot_reload: self.hot_reload.or(below.hot_reload),
            log: self.log.or(below.log),
            log_format: self.log_format.or(below.log_format),
        }
    }
}

/// The effective settings, in the form of the file.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    pub dev_credentials: bool,
    pub trail_delivery_s: u64,
    pub trail_digest_s: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python: Option<PathBuf>,
    pub threads: usize,
    pub trusted_proxies: Vec<String>,
    pub decisions: usize,
    pub decision_header: bool,
    pub isolation: Isolation,
    pub single_tenant: bool,
    pub memory_limit: MemoryLimit,
    pub functions_memory_mb: u64,
    pub standbys: bool,
    pub freeze: bool,
    pub stream_shaping: bool,
    pub egress: Egress,
    pub egress_allow: Vec<String>,
    pub egress_deny: Vec<String>,
    pub watch: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hot_reload: Option<PathBuf>,
    pub log: String,
    pub log_format: LogFormat,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub egress_accounts: BTreeMap<String, AccountEgress>,
    /// What was understood from variables of other products, one sentence each.
    #[serde(skip)]
    pub translations: Vec<String>,
}

/// Where variables are looked up, so that tests need not touch the environment.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The variables of this process.
#[must_use]
pub fn environment(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "settings are read here and handed down")]
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Puts the settings together.
///
/// # Errors
/// A sentence for the user when a value makes no sense or the file cannot be read.
pub fn resolve(flags: Given, file: Option<&Path>, variables: Variables<'_>) -> anyhow::Result<Settings> {
    let file = file.map(Path::to_owned).or_else(|| variables("PORTCULLIS_CONFIG").map(PathBuf::from));
    let file = file.map(|path| read_file(&path)).transpose()?.unwrap_or_default();
    let (translated, translations) = translate(variables);
    let given = flags.over(from_variables(variables)?).over(translated).over(file);
    let dev_credentials = given.dev_credentials.unwrap_or(false);
    let delivery_s = if dev_credentials { DEVELOPMENT_DELIVERY_S } else { 300 };
    let trusted_proxies = given.trusted_proxies.unwrap_or_default();
    networks(&trusted_proxies)?;
    let (isolation, single_tenant) = (given.isolation.unwrap_or_default(), given.single_tenant.unwrap_or(false));
    check_isolation(isolation, single_tenant, dev_credentials)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let settings = Settings {
        data_dir: given.data_dir.unwrap_or_else(|| default_data_dir(variables)),
        listen: parse_listen(given.listen.as_deref().unwrap_or(LISTEN))?,
        dev_credentials,
        trail_delivery_s: within("trail_delivery_s", given.trail_delivery_s.unwrap_or(delivery_s), 1, 86_400)?,
        trail_digest_s: within("trail_digest_s", given.trail_digest_s.unwrap_or(3_600), 1, 86_400)?,
        node: given.node.or_else(|| on_path("node", variables)),
        python: given.python.or_else(|| on_path("python3", variables)),
        threads: within("threads", given.threads.unwrap_or(cores), 1, THREADS_MAX)?,
        trusted_proxies,
        decisions: within("decisions", given.decisions.unwrap_or(100_000), 0, DECISIONS_MAX)?,
        decision_header: given.decision_header.unwrap_or(true),
        isolation,
        single_tenant,
        memory_limit: given.memory_limit.unwrap_or_default(),
        functions_memory_mb: within(
            "functions_memory_mb",
            given.functions_memory_mb.unwrap_or_else(functions_memory_mb),
            0,
            FUNCTIONS_MEMORY_MB_MAX,
        )?,
        standbys: given.standbys.unwrap_or(true),
        freeze: given.freeze.unwrap_or(true),
        stream_shaping: given.stream_shaping.unwrap_or(false),
        egress: given.egress.unwrap_or_default(),
        egress_allow: given.egress_allow.unwrap_or_default(),
        egress_deny: given.egress_deny.unwrap_or_default(),
        egress_accounts: given.egress_accounts.unwrap_or_default(),
        watch: given.watch.unwrap_or_default(),
        hot_reload: given.hot_reload,
        log: given.log.unwrap_or_else(|| LOG.to_owned()),
        log_format: given.log_format.unwrap_or_default(),
        translations,
    };
    egress::policies(&settings)?;
    crate::watch::watches(&settings)?;
    Ok(settings)
}

/// Without isolation every function is every account's, so there may be but one.
fn check_isolation(isolation: Isolation, single_tenant: bool, dev_credentials: bool) -> anyhow::Result<()> {
    match isolation {
        Isolation::None if !single_tenant => bail!(
            "isolation is none: functions would run as processes of this user, with its files and network, and reach \
             every account. If this server has one account and you trust its functions, say so with --single-tenant"
        ),
        Isolation::None if dev_credentials => bail!(
            "isolation is none, which allows one account, and development credentials stand for every account; leave \
             out one of the two"
        ),
        Isolation::None => Ok(()),
        _ if single_tenant => bail!("single_tenant says something together with --isolation none only; leave it out"),
        _ => Ok(()),
    }
}

/// Three quarters of the machine's memory, so that functions cannot take what this server needs.
fn functions_memory_mb() -> u64 {
    let told = rustix::system::sysinfo();
    let bytes = told.totalram.saturating_mul(u64::from(told.mem_unit));
    bytes / (1 << 20) / 4 * 3
}

/// The ranges of addresses that `--trusted-proxy` named.
///
/// # Errors
/// When one is none.
pub fn networks(texts: &[String]) -> anyhow::Result<Vec<Network>> {
    texts.iter().map(|text| text.parse().map_err(|error: String| anyhow!("trusted_proxies: {error}"))).collect()
}

fn within<N: PartialOrd + std::fmt::Display>(name: &str, value: N, min: N, max: N) -> anyhow::Result<N> {
    if value < min || value > max {
        bail!("{name} is {value}, but must be from {min} to {max}");
    }
    Ok(value)
}

fn parse_listen(text: &str) -> anyhow::Result<SocketAddr> {
    let named = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    named.as_deref().unwrap_or(text).parse().map_err(|_| {
        anyhow!("listen is `{text}`, which is no address and port; write it like {LISTEN}, [::1]:4566 or 0.0.0.0:4566")
    })
}

fn read_file(path: &Path) -> anyhow::Result<Given> {
    let mut text = String::new();
    let file = fs::File::open(path).with_context(|| format!("the settings in {} cannot be read", path.display()))?;
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .with_context(|| format!("the settings in {} cannot be read", path.display()))?;
    toml::from_str(&text).map_err(|error| anyhow!("the settings in {} are wrong: {error}", path.display()))
}

fn from_variables(variables: Variables<'_>) -> anyhow::Result<Given> {
    fn parsed<T: FromStr>(variables: Variables<'_>, name: &str, wanted: &str) -> anyhow::Result<Option<T>> {
        let Some(text) = variables(name) else { return Ok(None) };
        text.trim().parse().map(Some).map_err(|_| anyhow!("{name} is `{text}`, but must be {wanted}"))
    }
    fn named<T: ValueEnum>(variables: Variables<'_>, name: &str, wanted: &str) -> anyhow::Result<Option<T>> {
        let Some(text) = variables(name) else { return Ok(None) };
        T::from_str(&text, true).map(Some).map_err(|_| anyhow!("{name} is `{text}`, but must be {wanted}"))
    }
    let list =
        |name: &str| variables(name).map(|text| text.split(',').map(|part| part.trim().to_owned()).collect::<Vec<_>>());
    let switch = |name: &str| {
        let text = variables(name);
        text.map(|text| truth(&text).ok_or_else(|| anyhow!("{name} is `{text}`, but must be true or false")))
            .transpose()
    };
    Ok(Given {
        data_dir: variables("PORTCULLIS_DATA_DIR").map(PathBuf::from),
        listen: variables("PORTCULLIS_LISTEN"),
        dev_credentials: switch("PORTCULLIS_DEV_CREDENTIALS")?,
        trail_delivery_s: parsed(variables, "PORTCULLIS_TRAIL_DELIVERY_S", "a number of seconds")?,
        trail_digest_s: parsed(variables, "PORTCULLIS_TRAIL_DIGEST_S", "a number of seconds")?,
        node: variables("PORTCULLIS_NODE").map(PathBuf::from),
        python: variables("PORTCULLIS_PYTHON").map(PathBuf::from),
        threads: parsed(variables, "PORTCULLIS_THREADS", "a number of threads")?,
        trusted_proxies: list("PORTCULLIS_TRUSTED_PROXIES"),
        decisions: parsed(variables, "PORTCULLIS_DECISIONS", "a number of decisions")?,
        decision_header: switch("PORTCULLIS_DECISION_HEADER")?,
        isolation: named(variables, "PORTCULLIS_ISOLATION", "required, weak or none")?,
        single_tenant: switch("PORTCULLIS_SINGLE_TENANT")?,
        memory_limit: named(variables, "PORTCULLIS_MEMORY_LIMIT", "required or polling")?,
        functions_memory_mb: parsed(variables, "PORTCULLIS_FUNCTIONS_MEMORY_MB", "a number of MB")?,
        standbys: switch("PORTCULLIS_STANDBYS")?,
        freeze: switch("PORTCULLIS_FREEZE")?,
        stream_shaping: switch("PORTCULLIS_STREAM_SHAPING")?,
        egress: named(variables, "PORTCULLIS_EGRESS", "proxy or none")?,
        egress_allow: list("PORTCULLIS_EGRESS_ALLOW"),
        egress_deny: list("PORTCULLIS_EGRESS_DENY"),
        egress_accounts: None,
        watch: list("PORTCULLIS_WATCH"),
        hot_reload: variables("PORTCULLIS_HOT_RELOAD").map(PathBuf::from),
        log: variables("PORTCULLIS_LOG"),
        log_format: named(variables, "PORTCULLIS_LOG_FORMAT", "text or json")?,
    })
}

fn truth(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// What LocalStack's variables mean here, and a sentence on each that was set.
fn translate(variables: Variables<'_>) -> (Given, Vec<String>) {
    let (mut given, mut notes) = (Given::default(), Vec::new());
    if let Some(text) = variables("GATEWAY_LISTEN") {
        let first = text.split(',').next().unwrap_or_default().trim();
        let listen = match first {
            port if port.parse::<u16>().is_ok() => format!("127.0.0.1:{port}"),
            _ if first.starts_with(':') => format!("0.0.0.0{first}"),
            _ if !first.contains(':') => format!("{first}:4566"),
            _ => first.to_owned(),
        };
        let rest = if text.contains(',') { "; further addresses of it are not served" } else { "" };
        notes.push(format!("GATEWAY_LISTEN={text} is understood as PORTCULLIS_LISTEN={listen}{rest}"));
        given.listen = Some(listen);
    }
    if let Some(text) = variables("DEBUG").filter(|text| truth(text) == Some(true)) {
        notes.push(format!("DEBUG={text} is understood as PORTCULLIS_LOG=debug"));
        given.log = Some("debug".to_owned());
    }
    if let Some(text) = variables("LS_LOG") {
        let level = match text.to_ascii_lowercase().as_str() {
            "trace" | "trace-internal" => "trace",
            "debug" => "debug",
            "warn" | "warning" => "warn",
            "error" | "critical" => "error",
            _ => "info",
        };
        notes.push(format!("LS_LOG={text} is understood as PORTCULLIS_LOG={level}"));
        given.log = Some(level.to_owned());
    }
    (given, notes)
}

fn default_data_dir(variables: Variables<'_>) -> PathBuf {
    let home = || variables("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    let data = variables("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute()).or_else(home);
    data.map_or_else(|| PathBuf::from(".portcullis"), |data| data.join("portcullis"))
}

/// The first file of that name in the directories of PATH.
fn on_path(name: &str, variables: Variables<'_>) -> Option<PathBuf> {
    let path = variables("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_absolute() && file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(flags: Given, file: &str, variables: &[(&str, &str)]) -> anyhow::Result<Settings> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("portcullis.toml");
        fs::write(&path, file)?;
        let look_up = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        resolve(flags, Some(&path), &look_up)
    }

    #[test]
    fn flags_win_over_variables_over_the_file_over_defaults() {
        let file = "listen = \"127.0.0.1:1\"\nthreads = 3\ntrail_digest_s = 7";
        let variables = [("PORTCULLIS_LISTEN", "127.0.0.1:2"), ("PORTCULLIS_THREADS", "4")];
        let flags = Given { listen: Some("127.0.0.1:3".to_owned()), ..Given::default() };
        let settings = resolved(flags, file, &variables).unwrap();
        assert_eq!(settings.listen.port(), 3);
        assert_eq!((settings.threads, settings.trail_digest_s, settings.trail_delivery_s), (4, 7, 300));
        assert!(!settings.dev_credentials);
    }

    #[test]
    fn known_variables_of_others_are_translated_and_told() {
        for (value, listen) in
            [("0.0.0.0:4566,0.0.0.0:443", "0.0.0.0:4566"), (":4510", "0.0.0.0:4510"), ("4511", "127.0.0.1:4511")]
        {
            let settings = resolved(Given::default(), "", &[("GATEWAY_LISTEN", value), ("DEBUG", "1")]).unwrap();
            assert_eq!(settings.listen.to_string(), listen);
            assert_eq!(settings.log, "debug");
            assert_eq!(settings.translations.len(), 2, "{:?}", settings.translations);
        }
        let ours = [("GATEWAY_LISTEN", "0.0.0.0:1"), ("PORTCULLIS_LISTEN", "127.0.0.1:2"), ("LS_LOG", "warning")];
        let settings = resolved(Given::default(), "", &ours).unwrap();
        assert_eq!((settings.listen.port(), settings.log.as_str()), (2, "warn"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (file, variables, expected) in [
            ("listne = \"x\"", &[][..], "listne"),
            ("listen = \"nowhere\"", &[], "nowhere"),
            ("threads = 0", &[], "threads"),
            ("trusted_proxies = [\"10/8\"]", &[], "10/8"),
            ("", &[("PORTCULLIS_THREADS", "many")], "PORTCULLIS_THREADS"),
            ("", &[("PORTCULLIS_DEV_CREDENTIALS", "maybe")], "PORTCULLIS_DEV_CREDENTIALS"),
            ("", &[("PORTCULLIS_LOG_FORMAT", "xml")], "PORTCULLIS_LOG_FORMAT"),
            ("", &[("PORTCULLIS_ISOLATION", "some")], "PORTCULLIS_ISOLATION"),
            ("isolation = \"none\"", &[], "--single-tenant"),
            ("single_tenant = true", &[], "--isolation none"),
            ("isolation = \"none\"\nsingle_tenant = true\ndev_credentials = true", &[], "development credentials"),
            ("egress_allow = [\"10.0.0.0/33\"]", &[], "10.0.0.0/33"),
            ("[egress_accounts.1111]\nmode = \"none\"", &[], "1111"),
            ("[egress_accounts.111111111111]\nallow = [\"x y\"]", &[], "x y"),
            ("watch = [\"f\"]", &[], "FUNCTION=DIR"),
        ] {
            let error = resolved(Given::default(), file, variables).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn development_mode_delivers_soon_and_effective_settings_read_back() {
        let file = "dev_credentials = true\n[egress_accounts.111111111111]\nmode = \"none\"";
        let settings = resolved(Given::default(), file, &[("XDG_DATA_HOME", "/d")]).unwrap();
        assert_eq!(settings.trail_delivery_s, 2);
        assert_eq!(settings.data_dir, Path::new("/d/portcullis"));
        let text = toml::to_string(&settings).unwrap();
        let given: Given = toml::from_str(&text).unwrap();
        assert_eq!(given.dev_credentials, Some(true));
        assert_eq!(given.trail_delivery_s, Some(2));
        let own = given.egress_accounts.unwrap().remove("111111111111").unwrap();
        assert_eq!(own.mode, Some(Egress::None));
    }
}
