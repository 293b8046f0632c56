//! What pure operations borrow from the node.

use std::sync::Arc;

use environment::{Supervisor, runtimes::runnable};
use service::Host;

use crate::vault::{Vault, random};

/// [`Host`] over the installation's vault and the node's interpreters.
pub struct NodeHost {
    pub(crate) vault: Arc<Vault>,
    /// Absent where no operation runs that asks for runtimes.
    pub(crate) runner: Option<Supervisor>,
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
        let runner = self.runner.as_ref().ok_or("no function runs here")?;
        runnable(identifier, runner.installed()).map(|resolved| resolved.warning).map_err(|refusal| refusal.message)
    }
}
