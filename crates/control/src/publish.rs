//! From records to what runs: compiled programs for the gateway, targets for invocations, selections for the audit.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, PoisonError},
};

use apigateway::{
    api_key::ApiKey,
    rest_api::Owner,
    snapshot::Snapshot,
    stage::Stage,
    usage_plan::{self, UsagePlan, UsagePlanKey},
};
use gateway::Program;
use lambda::{
    directory::{self, Loaded},
    invoke::Revision,
    provisioned::{self, ProvisionedConcurrency},
};
use platform::cloudtrail::trail;
use service::{Key, Parent, Record as _, Result, Scope, ServiceError, Tx};

use crate::{
    Inner,
    functions::{Function, FunctionKey},
    reader::SnapshotReader,
};

impl Inner {
    /// Makes changed records take effect. One thread publishes at a time, each reading the store after it has its turn, so
    /// that what is published last is what the store says last. What cannot be compiled is not served.
    pub(crate) fn publish(&self, keys: &[Key]) {
        let (mut stages, mut functions, mut trails) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut key_places = BTreeSet::new();
        for key in keys {
            if key.noun == Stage::NOUN {
                stages.insert((key.scope.clone(), key.parent.clone(), key.id.clone()));
            } else if let Some(name) = directory_function(key) {
                functions.insert((key.scope.clone(), name.to_owned()));
            } else if [ApiKey::NOUN, UsagePlan::NOUN, UsagePlanKey::NOUN].contains(&key.noun) {
                key_places.insert(key.scope.clone());
            } else if key.noun == trail::Trail::NOUN {
                trails.insert(key.scope.account.clone());
            }
        }
        if stages.is_empty() && functions.is_empty() && trails.is_empty() && key_places.is_empty() {
            return;
        }
        let turn = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        for (scope, api, name) in stages {
            if let Err(error) = self.publish_stage(&scope, &api, &name) {
                tracing::error!(api, stage = name, cause = ?error.cause, "a stage cannot be served: {}", error.message);
                self.gateway().unpublish(&api, &name);
            }
        }
        for (scope, name) in functions {
            if let Err(error) = self.publish_function(&scope, &name) {
                tracing::error!(function = name, cause = ?error.cause, "a function cannot be run: {}", error.message);
                self.functions.set(function_key(&scope, &name), Loaded::default());
            }
        }
        for scope in key_places {
            if let Err(error) = self.publish_keys(&scope) {
                tracing::error!(account = scope.account, cause = ?error.cause, "API keys cannot be read: {}", error.message);
                self.gateway().publish_keys(&scope.account, &scope.region, Vec::new());
            }
        }
        for account in trails {
            if let Err(error) = self.publish_trails(&account) {
                tracing::error!(account, cause = ?error.cause, "trails cannot be read: {}", error.message);
            }
        }
        drop(turn);
    }

    /// Publishes every stage and every trail of the installation, and the functions that have provisioned concurrency: the
    /// start of a server. Other functions follow when first asked for. What is outstanding of functions goes on.
    ///
    /// # Errors
    /// 5xx when the store cannot be read. A stage that does not compile is logged and not served.
    pub(crate) fn publish_all(&self) -> Result<()> {
        let mut reader = SnapshotReader::new(&*self.store, &self.vault)?;
        let mut tx = Tx::new(&mut reader);
        let (mut after, mut keys): (Option<String>, Vec<Key>) = (None, Vec::new());
        let mut key_places = BTreeSet::new();
        loop {
            let page = tx.page::<Owner>(&Scope::installation(), "", after.as_deref(), 1000)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (api, owner) in page {
                let scope = Scope::regional(owner.account, owner.region);
                key_places.insert(scope.clone());
                for stage in tx.list::<Stage>(&scope, &Parent::Exact(&api))? {
                    keys.push(Key {
                        scope: scope.clone(),
                        noun: Stage::NOUN,
                        parent: api.clone(),
                        id: stage.stage_name,
                    });
                }
            }
        }
        let accounts = trail::accounts(&mut tx)?;
        self.resume(&mut tx)?;
        for provisioned::ProvisionedFunction { account, region, function } in provisioned::functions(&mut tx)? {
            let (scope, noun) = (Scope::regional(account, region), lambda::function::Function::NOUN);
            keys.push(Key { scope, noun, parent: String::new(), id: function });
        }
        self.publish(&keys);
        // A key is of use only where its account has an API.
        key_places.iter().try_for_each(|scope| self.publish_keys(scope))?;
        accounts.iter().try_for_each(|account| self.publish_trails(account))
    }

    fn publish_stage(&self, scope: &Scope, api: &str, name: &str) -> Result<()> {
        let mut reader = SnapshotReader::new(&*self.store, &self.vault)?;
        let mut tx = Tx::new(&mut reader);
        let Some(stage) = tx.get::<Stage>(scope, api, name)? else {
            self.gateway().unpublish(api, name);
            return Ok(());
        };
        let bytes = tx.blob(&stage.snapshot)?.ok_or_else(|| {
            ServiceError::internal(format!("the deployment {} has lost its snapshot", stage.deployment_id))
        })?;
        let snapshot: Snapshot = serde_json::from_slice(&bytes).map_err(|error| {
            ServiceError::internal(format!("the snapshot of {} does not decode: {error}", stage.deployment_id))
        })?;
        let program =
            Program::compile(&snapshot, &stage).map_err(|error| ServiceError::internal(format!("{error}")))?;
        self.gateway().publish(program);
        Ok(())
    }

    /// Everything the store says of a function.
    pub(crate) fn load_function(&self, scope: &Scope, name: &str) -> Result<Loaded> {
        let mut reader = SnapshotReader::new(&*self.store, &self.vault)?;
        directory::load(scope, name, &mut Tx::new(&mut reader), |blob| self.code_path(blob))
    }

    fn publish_function(&self, scope: &Scope, name: &str) -> Result<Option<Arc<Function>>> {
        let loaded = self.load_function(scope, name)?;
        let key = function_key(scope, name);
        if !loaded.unprepared.is_empty() {
            self.preparing.ask(&key);
        }
        let before = self.functions.known(&key).flatten();
        let function = self.functions.set(key, loaded);
        // A permission changes nothing about what runs, nor does a new `$LATEST` about versions: warm environments are
        // kept then.
        if before.is_some() {
            let keep = |revision: &Revision| function.as_ref().is_some_and(|function| function.runs(revision));
            self.runner.retire_unless(&scope.account, &scope.region, name, keep);
        }
        self.provide(before.as_deref(), function.as_deref());
        Ok(function)
    }

    fn publish_keys(&self, scope: &Scope) -> Result<()> {
        let mut reader = SnapshotReader::new(&*self.store, &self.vault)?;
        let keys = usage_plan::load(&mut Tx::new(&mut reader), scope)?;
        self.gateway().publish_keys(&scope.account, &scope.region, keys);
        Ok(())
    }

    fn publish_trails(&self, account: &str) -> Result<()> {
        let mut reader = SnapshotReader::new(&*self.store, &self.vault)?;
        let selections = trail::selections(&mut Tx::new(&mut reader), account)?;
        self.audit.select(account, selections);
        Ok(())
    }

    /// The function as invocations see it: from memory, or from the store when nobody has asked for it yet.
    pub(crate) async fn function(self: &Arc<Self>, key: FunctionKey) -> Option<Arc<Function>> {
        if let Some(known) = self.functions.known(&key) {
            return known;
        }
        let inner = Arc::clone(self);
        let load = move || {
            let turn = inner.publishing.lock().unwrap_or_else(PoisonError::into_inner);
            let known = inner.functions.known(&key);
            let found = match known {
                Some(known) => known,
                None => {
                    let scope = Scope::regional(key.account.as_str(), key.region.as_str());
                    inner.publish_function(&scope, &key.name).unwrap_or_else(|error| {
                        tracing::error!(function = key.name, cause = ?error.cause, "a function cannot be read");
                        None
                    })
                }
            };
            drop(turn);
            found
        };
        tokio::task::spawn_blocking(load).await.ok().flatten()
    }

    fn code_path(&self, blob: &str) -> PathBuf {
        self.store.blob_path(blob).unwrap_or_default()
    }
}

fn function_key(scope: &Scope, name: &str) -> FunctionKey {
    FunctionKey { account: scope.account.clone(), region: scope.region.clone(), name: name.to_owned() }
}

/// The function a changed record of Lambda belongs to.
fn directory_function(key: &Key) -> Option<&str> {
    match key.noun {
        lambda::function::Function::NOUN => Some(&key.id),
        lambda::version::Version::NOUN
        | lambda::alias::Alias::NOUN
        | lambda::permission::ResourcePolicy::NOUN
        | ProvisionedConcurrency::NOUN => Some(&key.parent),
        _ => None,
    }
}
