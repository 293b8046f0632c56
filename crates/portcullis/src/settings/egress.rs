//! What functions may reach, from the settings to the rules.

use anyhow::{anyhow, bail};
use environment::egress::policy::{Mode, Policies, Policy, Rule};

use super::{Egress, Settings};

/// The rules of all accounts. An account's own are added to those of all, except the mode, which replaces theirs.
///
/// # Errors
/// A sentence for the user when a place or an account makes no sense.
pub fn policies(settings: &Settings) -> anyhow::Result<Policies> {
    let base = Policy {
        mode: mode(settings.egress),
        allow: rules("egress_allow", &settings.egress_allow)?,
        deny: rules("egress_deny", &settings.egress_deny)?,
    };
    let mut accounts = std::collections::BTreeMap::new();
    for (account, own) in &settings.egress_accounts {
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            bail!("egress_accounts.{account}: an account is named by its 12 digits");
        }
        let mut policy = Policy { mode: mode(own.mode.unwrap_or(settings.egress)), ..base.clone() };
        policy.allow.extend(rules(&format!("egress_accounts.{account}: allow"), &own.allow)?);
        policy.deny.extend(rules(&format!("egress_accounts.{account}: deny"), &own.deny)?);
        accounts.insert(account.clone(), policy);
    }
    Ok(Policies { base, accounts })
}

fn mode(egress: Egress) -> Mode {
    match egress {
        Egress::Proxy => Mode::Proxy,
        Egress::None => Mode::None,
    }
}

fn rules(name: &str, texts: &[String]) -> anyhow::Result<Vec<Rule>> {
    texts.iter().map(|text| text.parse().map_err(|error: String| anyhow!("{name}: {error}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{AccountEgress, Given, resolve};
    use super::*;

    #[test]
    fn an_account_adds_to_what_all_have_and_replaces_the_mode() {
        let given = Given {
            egress: Some(Egress::None),
            egress_allow: Some(vec!["10.0.0.0/8:443".into()]),
            egress_accounts: Some(
                [(
                    "111111111111".to_owned(),
                    AccountEgress { mode: Some(Egress::Proxy), allow: vec!["db.internal".into()], deny: vec![] },
                )]
                .into(),
            ),
            ..Given::default()
        };
        let settings = resolve(given, None, &|_| None).unwrap();
        let policies = policies(&settings).unwrap();
        assert_eq!(policies.of("222222222222").mode, Mode::None);
        let own = policies.of("111111111111");
        assert_eq!(own.mode, Mode::Proxy);
        let shown: Vec<String> = own.allow.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.0/8:443", "db.internal"]);
    }
}
