//! What pure operations borrow from the node.

use std::sync::Arc;

use environment::{Supervisor, runtimes::runnable};
use service::{Host, Provisioned};

use crate::{
    functions::{FunctionKey, Functions},
    provisioned,
    vault::{Vault, random},
};

/// [`Host`] over the installation's vault and the node's interpreters.
pub struct NodeHost {
    pub(crate) vault: Arc<Vault>,
    /// Absent where no operation runs that asks for runtimes or functions.
    pub(crate) functions: Option<(Supervisor, Arc<Functions>)>,
}

impl Host for NodeHost {
    fn random(&mut self, out: &mut [u8]) {
        random(out);
    }

    fn seal(&mut self, purpose: &str, plain: &[u8]) -> String {
        self.vault.seal_text(purpose, plain)
    }

    fn open(&self, purpose: &str, sealed: &str) -> Option<Vec<u8>> {
        self.vault.open_text(purpose, sealed)
    }

    fn runtime(&self, identifier: &str) -> Result<Option<String>, String> {
        let (runner, _) = self.functions.as_ref().ok_or("no function runs here")?;
        runnable(identifier, runner.installed()).map(|resolved| resolved.warning).map_err(|refusal| refusal.message)
    }

    fn sizes_tmp(&self) -> bool {
        self.functions.as_ref().is_some_and(|(runner, _)| runner.isolates())
    }

    fn provisioned(&self, account: &str, region: &str, function: &str, qualifier: &str) -> Provisioned {
        let key = FunctionKey { account: account.to_owned(), region: region.to_owned(), name: function.to_owned() };
        let Some((runner, functions)) = &self.functions else { return Provisioned::default() };
        let function = functions.known(&key).flatten();
        let target = function.as_ref().and_then(|function| function.target(qualifier));
        target.map_or_else(Provisioned::default, |target| provisioned::of(runner, target))
    }
}
