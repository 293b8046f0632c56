//! Who signed a request: signature, access key, session.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Mutex, PoisonError},
};

use platform::{iam, sts};
use policy::AccountId;
use service::{Caller, Identity, ServiceError, Timestamp, Tx};
use wire::{
    sigv4::{self, Body, Dialect, Payload, RequestHead, Rules, Scope, Signed, SigningKey},
    table::{Protocol, Service},
};
use zeroize::Zeroizing;

use crate::{Inner, vault::Vault};

/// Derived signing keys kept; when full it starts anew. One is used for a day by one key in one region and service.
const SIGNING_KEYS_MAX: usize = 4096;
/// The account that the development mode's key id `test` stands for.
const DEVELOPMENT_DEFAULT_ACCOUNT: &str = "000000000000";

/// Derived signing keys, by scope and by what they were derived from.
#[derive(Default)]
pub struct SigningKeys {
    by_scope: Mutex<HashMap<Scope, (Zeroizing<String>, SigningKey)>>,
}

impl SigningKeys {
    fn get(&self, signed: &Signed<'_>, secret: &Zeroizing<String>) -> SigningKey {
        let scope = signed.scope();
        let mut by_scope = self.by_scope.lock().unwrap_or_else(PoisonError::into_inner);
        // A session's key id is drawn once, and so is a user's; the secret is compared all the same, so that a key can
        // never be believed because of what another secret derived.
        if let Some((known, key)) = by_scope.get(&scope)
            && known == secret
        {
            return key.clone();
        }
        let key = signed.signing_key(secret);
        if by_scope.len() >= SIGNING_KEYS_MAX {
            by_scope.clear();
        }
        by_scope.insert(scope, (secret.clone(), key.clone()));
        key
    }
}

/// What is known of a request once its signature has been looked at.
pub struct Authenticated {
    /// Who signed; `None` when nothing was signed at all.
    pub caller: Option<Caller>,
    /// Region of the scope, `us-east-1` when nothing was signed.
    pub region: String,
    /// What is left to do about the body (S3's streaming forms).
    pub payload: Payload,
}

/// A refused signature, with what the audit may know of it.
pub struct Refused {
    /// What the client reads.
    pub error: Box<ServiceError>,
    /// The account of the key that was named, if there is such a key: nothing proves that its holder called.
    pub named: Option<(String, String)>,
    /// Region of the scope, where it could be read.
    pub region: Option<String>,
    /// The access key id, when there is no such key.
    pub unknown_key: Option<String>,
}

/// How errors of a service's protocol are spelled.
#[must_use]
pub fn dialect(service: &Service) -> Dialect {
    match service.protocol {
        Protocol::RestJson => Dialect::RestJson,
        Protocol::AwsJson => Dialect::AwsJson,
        Protocol::AwsQuery => Dialect::Query,
        Protocol::RestXml => Dialect::S3,
    }
}

/// The address of calls that come out of execution environments: none that anything can have, so that no condition on
/// addresses takes a function for this node or for one of its clients.
///
/// Source: RFC 7600, the IPv4 dummy address.
pub const FUNCTION_CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 0, 8));

/// What verification needs of its surroundings.
pub struct Verifier<'a> {
    pub vault: &'a Vault,
    pub keys: &'a SigningKeys,
    /// The named development mode: a 12-digit key id is that account's root, the secret is not checked. Never for
    /// functions: their code must not become another account by writing its number down.
    pub development: bool,
    pub now: Timestamp,
}

impl Inner {
    /// Verifies requests as of a moment, from `client`.
    pub(crate) fn verifier(&self, now: Timestamp, client: IpAddr) -> Verifier<'_> {
        Verifier {
            vault: &self.vault,
            keys: &self.signing_keys,
            development: self.options.development_credentials && client != FUNCTION_CLIENT,
            now,
        }
    }
}

impl Verifier<'_> {
    /// Verifies a request's signature and finds its caller.
    ///
    /// # Errors
    /// AWS's refusal in the order presence, syntax, scope, key, token, clock, signature, payload.
    pub fn authenticate(
        &self,
        head: &RequestHead<'_>,
        body: Body<'_>,
        dialect: Dialect,
        service: &str,
        tx: &mut Tx<'_>,
    ) -> Result<Authenticated, Refused> {
        let refuse =
            |error: ServiceError| Refused { error: Box::new(error), named: None, region: None, unknown_key: None };
        let Some(signed) = sigv4::parse(head).map_err(|failure| refuse(failure.to_error(dialect)))? else {
            return Ok(Authenticated { caller: None, region: "us-east-1".into(), payload: Payload::Unsigned });
        };
        let rules = Rules::of(dialect, service);
        let refuse = |error: ServiceError| Refused {
            error: Box::new(error),
            named: None,
            region: Some(signed.region().to_owned()),
            unknown_key: None,
        };
        signed.check_scope(&rules).map_err(|failure| refuse(failure.to_error(dialect)))?;
        let (caller, secret) = self.key(&signed, dialect, tx).map_err(|error| {
            let unknown = error.code == sigv4::unknown_key(dialect, "").code;
            Refused { unknown_key: unknown.then(|| signed.access_key_id().to_owned()), ..refuse(error) }
        })?;
        let region = signed.region().to_owned();
        let Some(secret) = secret else {
            let payload = match body {
                Body::Bytes(_) | Body::Sha256(_) => Payload::Checked,
                Body::Later => Payload::Unsigned,
            };
            return Ok(Authenticated { caller: Some(caller), region, payload });
        };
        let key = self.keys.get(&signed, &secret);
        match signed.verify(head, body, &key, self.now.s(), &rules) {
            Ok(verified) => Ok(Authenticated { caller: Some(caller), region, payload: verified.into_payload() }),
            Err(failure) => Err(Refused {
                error: Box::new(failure.to_error(dialect)),
                named: Some((caller.account.to_string(), caller.access_key_id)),
                region: Some(region),
                unknown_key: None,
            }),
        }
    }

    /// The identity and secret behind a key id. No secret means it is not checked (development keys).
    fn key(
        &self,
        signed: &Signed<'_>,
        dialect: Dialect,
        tx: &mut Tx<'_>,
    ) -> Result<(Caller, Option<Zeroizing<String>>), ServiceError> {
        let id = signed.access_key_id();
        let unknown = || sigv4::unknown_key(dialect, id);
        if self.development
            && let Some(account) = development_account(id)
        {
            let caller = Caller { account, identity: Identity::Root, access_key_id: id.to_owned(), session: None };
            return Ok((caller, None));
        }
        if id.starts_with("ASIA") {
            let token = signed.session_token().ok_or_else(|| sigv4::bad_session_token(dialect))?;
            let opened = self
                .vault
                .open_text(sts::token::PURPOSE, token)
                .and_then(|bytes| sts::token::Token::from_bytes(&bytes))
                .filter(|opened| opened.access_key_id == id)
                .ok_or_else(|| sigv4::bad_session_token(dialect))?;
            let account = AccountId::try_from(opened.account.as_str()).map_err(|_| unknown())?;
            if opened.session.expires_at <= self.now {
                return Err(sigv4::expired_session(dialect));
            }
            if !still_there(tx, &opened.account, &opened.identity)? {
                return Err(unknown());
            }
            let secret = Zeroizing::new(opened.secret_access_key);
            let caller = Caller {
                account,
                identity: opened.identity,
                access_key_id: id.to_owned(),
                session: Some(opened.session),
            };
            return Ok((caller, Some(secret)));
        }
        // A token beside a long-term key is somebody's mistake that AWS refuses.
        if signed.session_token().is_some() {
            return Err(sigv4::bad_session_token(dialect));
        }
        let key = tx
            .get::<iam::access_key::AccessKey>(&service::Scope::installation(), "", id)?
            .filter(|key| key.status == "Active")
            .ok_or_else(unknown)?;
        let account = AccountId::try_from(key.account.as_str()).map_err(|_| unknown())?;
        let identity = match &key.user_name {
            None => Identity::Root,
            Some(name) => iam::principal::user_identity(tx, &key.account, name)?.ok_or_else(unknown)?,
        };
        let caller = Caller { account, identity, access_key_id: id.to_owned(), session: None };
        Ok((caller, Some(Zeroizing::new(key.secret_access_key.clone()))))
    }
}

/// Whether the identity behind a session exists still: a namesake made later is another. A session outlives a renaming
/// no more than a deletion.
fn still_there(tx: &mut Tx<'_>, account: &str, identity: &Identity) -> Result<bool, ServiceError> {
    let now = match identity {
        Identity::Root => return Ok(true),
        Identity::User { name, .. } => iam::principal::user_identity(tx, account, name)?,
        Identity::Role { name, session_name, .. } => iam::principal::role_identity(tx, account, name, session_name)?,
    };
    Ok(now.as_ref() == Some(identity))
}

fn development_account(id: &str) -> Option<AccountId> {
    if id == "test" { AccountId::try_from(DEVELOPMENT_DEFAULT_ACCOUNT).ok() } else { AccountId::try_from(id).ok() }
}
