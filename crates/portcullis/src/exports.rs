//! `portcullis env`: shell exports for the AWS CLI and SDKs.

use anyhow::anyhow;
use clap::Args;

use crate::{
    account,
    admin::{self, Ask, Reply},
    cli::{Failure, Place},
    server, terminal,
};

#[derive(Debug, Args)]
pub struct EnvArgs {
    /// The account to act as; may be left out when there is just one
    #[arg(long, value_name = "ID", value_parser = account::account_id)]
    account: Option<String>,
    /// The region to work in
    #[arg(long, default_value = "us-east-1")]
    region: String,
    #[command(flatten)]
    place: Place,
}

/// Prints the exports.
///
/// # Errors
/// When there is no account or no key to print; the text ends with what to do.
pub fn run(args: &EnvArgs) -> Result<(), Failure> {
    let settings = args.place.resolve()?;
    let running = match admin::ask(&settings.data_dir, &Ask::Status) {
        Ok(Reply::Status(status)) => Some(status),
        Ok(other) => return Err(account::unexpected(other).into()),
        Err(_) => None,
    };
    let url = running.as_ref().map(|status| status.about.address.clone());
    let url = url.unwrap_or_else(|| {
        terminal::note("no server runs on this data directory; the address is the one `portcullis start` would use");
        server::url(settings.listen)
    });
    let id = match &args.account {
        Some(id) => id.clone(),
        None => only_account(args)?,
    };
    let is_development = running.as_ref().map_or(settings.dev_credentials, |status| status.about.dev_credentials);
    let (key, secret) = match account::kept(&settings.data_dir, &id)? {
        Some(account) => (account.access_key_id, account.secret_access_key),
        None if is_development => (id, "test".to_owned()),
        None => return Err(no_key(&id, &settings.data_dir).into()),
    };
    let exports = [
        ("AWS_ENDPOINT_URL", url.as_str()),
        ("AWS_DEFAULT_REGION", &args.region),
        ("AWS_ACCESS_KEY_ID", &key),
        ("AWS_SECRET_ACCESS_KEY", &secret),
    ];
    let mut text: String = exports.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value))).collect();
    // Left over from another session, it would be sent beside a key it does not belong to.
    text.push_str("unset AWS_SESSION_TOKEN\n");
    terminal::out(&text)?;
    Ok(())
}

fn no_key(id: &str, data_dir: &std::path::Path) -> anyhow::Error {
    let dir = data_dir.display();
    anyhow!(
        "no key of account {id} is kept in {dir}, and stored secrets cannot be read back. Create the account with \
         `portcullis account create --data-dir {dir} --id {id} --name NAME`, export the key it was created with \
         yourself, or start the server with --dev-credentials"
    )
}

fn only_account(args: &EnvArgs) -> anyhow::Result<String> {
    let data_dir = args.place.resolve().map_err(|_| anyhow!("the settings are wrong"))?.data_dir;
    let accounts = match admin::ask(&data_dir, &Ask::ListAccounts)? {
        Reply::Accounts(accounts) => accounts,
        other => return Err(account::unexpected(other)),
    };
    match accounts.as_slice() {
        [only] => Ok(only.account_id.clone()),
        [] => Err(anyhow!(account::none_in(&data_dir))),
        several => {
            let ids: Vec<&str> = several.iter().map(|account| account.account_id.as_str()).collect();
            Err(anyhow!("there are several accounts; name one with --account: {}", ids.join(", ")))
        }
    }
}

/// A value as a shell takes it.
fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:+=[]".contains(c);
    if value.chars().all(is_plain) && !value.contains('[') {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn values_survive_a_shell() {
        for (value, expected) in [
            ("http://127.0.0.1:4566", "http://127.0.0.1:4566"),
            ("http://[::1]:4566", "'http://[::1]:4566'"),
            ("a b'c", "'a b'\\''c'"),
            ("$(x)", "'$(x)'"),
        ] {
            assert_eq!(quoted(value), expected);
        }
    }
}
