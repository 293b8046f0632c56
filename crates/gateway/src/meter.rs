//! `Authorized` -> `Metered`: API keys, usage plans, throttles.
//!
//! No key exists in this version, so a method that requires one refuses everybody, as it does on AWS until a key and
//! a usage plan are made.

use crate::{
    authorize::Authorized,
    reject::{Rejection, ResponseType},
};

/// A request that may use its method now.
pub(crate) struct Metered {
    authorized: Authorized,
}

impl Metered {
    pub(crate) fn authorized(&self) -> &Authorized {
        &self.authorized
    }

    pub(crate) fn authorized_mut(&mut self) -> &mut Authorized {
        &mut self.authorized
    }
}

/// Checks the API key where the method wants one. The authorizer has run by then: the key may come from it.
///
/// # Errors
/// 403 `Forbidden`.
pub(crate) fn meter(authorized: Authorized) -> Result<Metered, Rejection> {
    if authorized.matched().method().api_key_required {
        return Err(Rejection::of(ResponseType::InvalidApiKey));
    }
    Ok(Metered { authorized })
}
