//! `portcullis account`: creates and lists accounts.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use control::accounts::{CreatedAccount, ListedAccount};

use crate::{
    admin::{self, Ask, Reply},
    cli::{Failure, Output, Place},
    terminal,
};

/// Directory of the keys that `create` keeps, inside the data directory.
const CREDENTIALS: &str = "credentials";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create an account and print the access key of its root identity
    #[command(after_help = "Examples:
  portcullis account create --id 111111111111 --name api
  portcullis account create --id 222222222222 --name security --output json

The secret is shown once. It is also kept in DIR/credentials/ID.json (mode 0600) for `portcullis env`, unless
--no-save is given.")]
    Create(CreateArgs),
    /// List all accounts
    #[command(after_help = "Examples:
  portcullis account list
  portcullis account list --output json")]
    List(ListArgs),
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Account id: 12 digits
    #[arg(long, value_parser = account_id)]
    id: String,
    /// Name of the account
    #[arg(long)]
    name: String,
    /// Do not keep the key in the data directory
    #[arg(long)]
    no_save: bool,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    place: Place,
}

/// An account id of the command line.
///
/// # Errors
/// When it has not exactly 12 digits.
pub fn account_id(text: &str) -> Result<String, String> {
    if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    Err("an account id has 12 digits, such as 111111111111".to_owned())
}

/// Runs one of the commands.
///
/// # Errors
/// When it fails; the text ends with what to do.
pub fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Create(args) => create(&args),
        Command::List(args) => list(&args),
    }
}

fn create(args: &CreateArgs) -> Result<(), Failure> {
    let data_dir = args.place.resolve()?.data_dir;
    let ask = Ask::CreateAccount { id: args.id.clone(), name: args.name.clone() };
    let account = match admin::ask(&data_dir, &ask)? {
        Reply::Created(account) => account,
        other => return Err(unexpected(other).into()),
    };
    // The account exists by now, whatever becomes of the file: its key is printed in any case.
    let kept = if args.no_save { None } else { keep(&data_dir, &account) };
    match args.output {
        Output::Json => terminal::out(&format!("{}\n", json(&account)?))?,
        Output::Text => {
            let dir = data_dir.display();
            let mut text = format!(
                "Account {} ({}) created.\nAccess key id:     {}\nSecret access key: {}\n",
                account.account_id, account.name, account.access_key_id, account.secret_access_key
            );
            match kept {
                Some(path) => text.push_str(&format!(
                    "\nThe secret is not shown again; it is kept in {}.\nNext: eval \"$(portcullis env --data-dir {dir} \
                     --account {})\"\n",
                    path.display(),
                    account.account_id
                )),
                None => text.push_str("\nThe secret is not shown again: keep it now.\n"),
            }
            terminal::out(&text)?;
        }
    }
    Ok(())
}

/// What to say of a data directory without accounts: a mistyped directory looks the same, so it is named.
pub fn none_in(data_dir: &Path) -> String {
    let dir = data_dir.display();
    format!(
        "there are no accounts in {dir} yet; create one with `portcullis account create --data-dir {dir} --id 111111111111 --name api`"
    )
}

fn list(args: &ListArgs) -> Result<(), Failure> {
    let data_dir = args.place.resolve()?.data_dir;
    let accounts = match admin::ask(&data_dir, &Ask::ListAccounts)? {
        Reply::Accounts(accounts) => accounts,
        other => return Err(unexpected(other).into()),
    };
    let text = match args.output {
        Output::Json => json(&accounts)? + "\n",
        Output::Text if accounts.is_empty() => {
            terminal::note(&none_in(&data_dir));
            String::new()
        }
        Output::Text => accounts.iter().map(line).collect(),
    };
    terminal::out(&text)?;
    Ok(())
}

fn line(account: &ListedAccount) -> String {
    format!("{}  {}  {}\n", account.account_id, account.created_date, account.name)
}

fn json(value: &impl serde::Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)?)
}

/// What a server says instead of what it was asked for.
pub fn unexpected(reply: Reply) -> anyhow::Error {
    match reply {
        Reply::Refused(message) => anyhow!("{message}"),
        _ => {
            anyhow!("the server answers something else than it was asked; use the same version of portcullis for both")
        }
    }
}

fn path(data_dir: &Path, id: &str) -> PathBuf {
    data_dir.join(CREDENTIALS).join(format!("{id}.json"))
}

/// Keeps a key for `portcullis env`; a failure is told and is no more than that.
pub fn keep(data_dir: &Path, account: &CreatedAccount) -> Option<PathBuf> {
    let path = path(data_dir, &account.account_id);
    match write(&path, account) {
        Ok(()) => Some(path),
        Err(error) => {
            terminal::warning(&format!("the key could not be kept in {}: {error:#}", path.display()));
            None
        }
    }
}

fn write(path: &Path, account: &CreatedAccount) -> anyhow::Result<()> {
    let dir = path.parent().context("there is no directory for it")?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // Written aside with its mode, then renamed, so that it is never there in part or for others.
    let fresh = path.with_extension(format!("new-{}", std::process::id()));
    let _ = fs::remove_file(&fresh);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(json(account)?.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    Ok(())
}

/// The key kept for an account, if there is one.
///
/// # Errors
/// When the file is there but cannot be used.
pub fn kept(data_dir: &Path, id: &str) -> anyhow::Result<Option<CreatedAccount>> {
    let path = path(data_dir, id);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(anyhow!("the key in {} cannot be read: {error}", path.display())),
    };
    let account = serde_json::from_slice(&text);
    account.map(Some).map_err(|error| anyhow!("the key in {} is damaged: {error}", path.display()))
}
