//! The command line. Exit codes: 0 done, 1 failed, 2 wrong usage.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    account, demo, explain, exports, lint,
    settings::{self, Given, Settings},
    start, status, terminal,
};

#[derive(Debug, Parser)]
#[command(
    name = "portcullis",
    version,
    about = "An AWS-compatible API gateway for many accounts, with central Lambda authorizers",
    after_help = "Examples:
  portcullis demo
  portcullis start --dev-credentials
  portcullis account create --id 111111111111 --name api
  eval \"$(portcullis env --account 111111111111)\" && aws apigateway get-rest-apis

Every setting of `start` can also come from a variable (--data-dir: PORTCULLIS_DATA_DIR) or from a TOML file
(--config FILE or PORTCULLIS_CONFIG). A flag wins over a variable, a variable over the file."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the whole thing at work: two accounts, one central authorizer, refused, allowed, audited
    #[command(after_help = "Examples:
  portcullis demo                                    then serves on until Ctrl-C
  portcullis demo --once                             ends after the last step; not 0 if any step differs
  portcullis demo --listen 127.0.0.1:0 --keep-data ./demo-data")]
    Demo(demo::DemoArgs),
    /// Serve everything on one port until told to stop
    #[command(after_help = "Examples:
  portcullis start                                   serves http://127.0.0.1:4566
  portcullis start --dev-credentials --data-dir ./data
  portcullis start --listen 127.0.0.1:0              takes a free port and prints it

Prints its addresses and then the line `Ready.` on standard output; the log goes to standard error.
SIGTERM or Ctrl-C ends requests in flight first, for up to 10 seconds; a second one ends at once.")]
    Start(SettingsArgs),
    /// Print the settings that `start` would use, as TOML
    #[command(after_help = "Examples:
  portcullis config --listen 0.0.0.0:4566 > portcullis.toml
  portcullis start --config portcullis.toml")]
    Config(SettingsArgs),
    /// Create and list accounts, beside a running server or before the first start
    #[command(subcommand)]
    Account(account::Command),
    /// Print shell exports for the AWS CLI and SDKs
    #[command(after_help = "Examples:
  eval \"$(portcullis env --account 111111111111)\"
  aws sts get-caller-identity

The keys are those that `account create` kept in the data directory. A server started with --dev-credentials needs
none; then a key that names the account is printed.")]
    Env(exports::EnvArgs),
    /// Say why a request was answered as it was, and what would change that
    #[command(after_help = "Examples:
  portcullis explain 5f3a9c1e000000000042            the id stands in the answer's x-portcullis-decision
  portcullis explain 5f3a9c1e000000000042 --output json

Without access to the machine: GET /_portcullis/decisions/ID, signed for service `portcullis` by a caller of the
account that owns the API or the function, with the permission portcullis:GetDecision.")]
    Explain(explain::ExplainArgs),
    /// List what works today and will surprise somebody tomorrow, with what mends it
    #[command(after_help = "Examples:
  portcullis lint
  portcullis lint --account 222222222222 --output json
  portcullis lint --strict                           ends with 1 if there is any warning

Looks at the policies of functions as they are stored, and at what authorizers answered since their stage was last
published. It keeps neither tokens nor principals of those answers.")]
    Lint(lint::LintArgs),
    /// Ask a running server how it is
    #[command(after_help = "Examples:
  portcullis status
  portcullis status --data-dir ./data --output json")]
    Status(status::StatusArgs),
}

/// All settings.
#[derive(Debug, Args)]
pub struct SettingsArgs {
    #[command(flatten)]
    given: Given,
    /// A TOML file of settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl SettingsArgs {
    fn resolve(self) -> Result<Settings, Failure> {
        settings::resolve(self.given, self.config.as_deref(), &settings::environment).map_err(Failure::usage)
    }
}

/// Where the data of the server in question is.
#[derive(Debug, Args)]
pub struct Place {
    /// The server's data directory [default: as for `start`]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The server's file of settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Place {
    /// The settings that a server started with the same flags has.
    ///
    /// # Errors
    /// Wrong usage.
    pub fn resolve(&self) -> Result<Settings, Failure> {
        let given = Given { data_dir: self.data_dir.clone(), ..Given::default() };
        settings::resolve(given, self.config.as_deref(), &settings::environment).map_err(Failure::usage)
    }
}

/// Form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For scripts.
    Json,
}

/// Why a command ends otherwise than well.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    /// The command makes no sense as given.
    pub fn usage(error: anyhow::Error) -> Self {
        Self { code: 2, error }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { code: 1, error }
    }
}

/// Runs the command that the arguments of this process name.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => {
            let _ = told.print();
            return ExitCode::from(if told.use_stderr() { 2 } else { 0 });
        }
    };
    let done = match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Start(args) => args.resolve().and_then(|settings| start::run(&settings)),
        Command::Config(args) => args.resolve().and_then(|settings| config(&settings)),
        Command::Account(command) => account::run(command),
        Command::Env(args) => exports::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Lint(args) => lint::run(&args),
        Command::Status(args) => status::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, error }) => {
            terminal::error(&format!("{error:#}"));
            ExitCode::from(code)
        }
    }
}

fn config(settings: &Settings) -> Result<(), Failure> {
    for note in &settings.translations {
        terminal::note(note);
    }
    terminal::out(&toml::to_string(settings).map_err(anyhow::Error::from)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
