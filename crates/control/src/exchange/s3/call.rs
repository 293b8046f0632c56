//! One call of S3: authorize, work on one revision, commit, record.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ::policy::{Context, Decide, Kind, Principal, decide};
use bytes::Bytes;
use platform::{
    cloudtrail::record::UserIdentity,
    s3::{
        bucket::{self, Bucket},
        error::access_denied,
        object::Checksum,
        policy,
    },
};
use serde_json::{Map, Value};
use service::{Caller, Need, ServiceError, Timestamp, Tx};
use store::Event;
use wire::table::{Operation, Service};

use crate::{
    Inner,
    authorize::{self, Circumstances},
    commit::{self, ATTEMPTS_MAX},
    dispatch::Request,
    reader::{SnapshotReader, unavailable},
    trail,
};

pub(super) type Result<T> = std::result::Result<T, ServiceError>;

/// What an operation does in one attempt.
pub(super) type Act<I, O> = fn(&mut Step<'_, '_>, &I) -> Result<O>;

/// A request whose signer is known.
pub(super) struct Call {
    pub inner: Arc<Inner>,
    pub service: &'static Service,
    /// As it arrived.
    pub request: Request,
    /// Path with the bucket in it, still percent-encoded.
    pub path: String,
    /// Query without its signature.
    pub query: Option<String>,
    /// Headers without signature and framing, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Body without framing.
    pub body: Bytes,
    pub request_id: String,
    pub now: Timestamp,
    /// `None` for a call that nobody signed.
    pub caller: Option<Caller>,
    pub region: String,
    /// The checksum the client sent of the body; it was right.
    pub checksum: Option<Checksum>,
    refused: Mutex<Option<ServiceError>>,
}

/// One attempt of an operation.
pub(super) struct Step<'a, 'r> {
    pub call: &'a Call,
    pub op: &'static Operation,
    pub tx: &'a mut Tx<'r>,
    /// The owner of what is acted on, once known.
    owner: Option<String>,
    /// What the record shows of the input.
    shown: Map<String, Value>,
}

impl Call {
    pub(super) fn new(inner: Arc<Inner>, service: &'static Service, request: Request, request_id: String) -> Self {
        Self {
            now: inner.clock.now(),
            inner,
            service,
            request,
            path: String::new(),
            query: None,
            headers: Vec::new(),
            body: Bytes::new(),
            request_id,
            caller: None,
            region: "us-east-1".into(),
            checksum: None,
            refused: Mutex::default(),
        }
    }

    /// The first value of a header, if it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(n, _)| n == name)?;
        std::str::from_utf8(value).ok()
    }

    pub(super) fn query_has(&self, name: &str) -> bool {
        self.query.as_deref().unwrap_or_default().split('&').any(|pair| pair.split('=').next() == Some(name))
    }

    /// Keeps the error the client is to read, which the protocol crate has no room for.
    pub(super) fn refuse(&self, error: ServiceError) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    pub(super) fn take_refusal(&self) -> Option<ServiceError> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Runs an operation until its commit stands. Blocks.
    ///
    /// # Errors
    /// The operation's, AccessDenied, `OperationAborted` when others kept committing first.
    pub(super) fn run<I, O>(&self, name: &str, input: &I, act: Act<I, O>) -> Result<O> {
        let op = self
            .service
            .operation(name)
            .ok_or_else(|| ServiceError::internal(format!("{name} is not in the table of operations")))?;
        for attempt in 0..ATTEMPTS_MAX {
            let mut reader = SnapshotReader::new(&*self.inner.store, &self.inner.vault)?;
            let mut tx = Tx::new(&mut reader);
            let mut step = Step { call: self, op, tx: &mut tx, owner: None, shown: Map::new() };
            let done = act(&mut step, input);
            let (owner, shown) = (step.owner.take(), std::mem::take(&mut step.shown));
            let output = match done {
                Ok(output) => output,
                Err(error) => return Err(self.recorded(op, owner.as_deref(), shown, error)?),
            };
            let changes = tx.into_changes();
            let events = self.events(op, owner.as_deref(), shown, None);
            if changes.is_empty() {
                self.inner.audit.keep(events).map_err(|e| unavailable(&e))?;
                return Ok(output);
            }
            let commit = commit::prepare(&*self.inner.store, &self.inner.vault, changes, reader, events)?;
            match self.inner.store.commit(commit) {
                Ok(_) => return Ok(output),
                Err(store::Error::Conflict) => {
                    std::thread::sleep(Duration::from_millis(u64::from(self.inner.jitter(attempt))));
                }
                Err(error) => return Err(unavailable(&error)),
            }
        }
        let text =
            "A conflicting conditional operation is currently in progress against this resource. Please try again.";
        Err(ServiceError::new("OperationAborted", 409, text))
    }

    /// Keeps the record of a refusal, and gives the error back.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub(super) fn recorded(
        &self,
        op: &'static Operation,
        owner: Option<&str>,
        shown: Map<String, Value>,
        error: ServiceError,
    ) -> Result<ServiceError> {
        self.inner.audit.keep(self.events(op, owner, shown, Some(&error))).map_err(|e| unavailable(&e))?;
        Ok(error)
    }

    fn events(
        &self,
        op: &'static Operation,
        owner: Option<&str>,
        shown: Map<String, Value>,
        error: Option<&ServiceError>,
    ) -> Vec<Event> {
        if !is_management(op) {
            return Vec::new();
        }
        let error = error.map(|error| (error.code.as_ref(), error.message.as_str()));
        let ending =
            trail::Ending { error, request_parameters: self.parameters(shown), response_elements: Value::Null };
        match (&self.caller, owner) {
            (Some(caller), owner) => {
                let source_ip = self.request.client.to_string();
                let at = trail::Circumstances {
                    request_id: &self.request_id,
                    now: self.now,
                    region: &self.region,
                    source_ip: &source_ip,
                    user_agent: self.request.header("user-agent"),
                    op,
                };
                let foreign = owner.filter(|owner| *owner != caller.account.as_str());
                trail::events(&at, caller, foreign, &ending, || self.inner.uuid())
            }
            (None, Some(owner)) => {
                let parts =
                    Parts { name: op.trail_name, region: &self.region, recipient: owner, read_only: op.read_only };
                vec![self.event(&parts, UserIdentity::Anonymous, &ending)]
            }
            (None, None) => Vec::new(),
        }
    }

    /// `requestParameters` as S3 writes them: bucket, host, the parts of the query and what the operation adds.
    fn parameters(&self, mut shown: Map<String, Value>) -> Value {
        let bucket = self.path.trim_start_matches('/').split('/').next().unwrap_or_default();
        if !bucket.is_empty() {
            shown.insert("bucketName".into(), bucket.into());
        }
        if let Some(host) = self.request.header("host") {
            shown.insert("Host".into(), host.into());
        }
        for pair in self.query.as_deref().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            shown.insert(name.to_owned(), value.into());
        }
        Value::Object(shown)
    }

    /// An event that belongs to no proven caller.
    pub(super) fn bare_event(
        &self,
        name: &'static str,
        region: &str,
        identity: UserIdentity<'_>,
        recipient: &str,
        error: &ServiceError,
    ) -> Event {
        let ending = trail::Ending {
            error: Some((&error.code, &error.message)),
            request_parameters: Value::Null,
            response_elements: Value::Null,
        };
        self.event(&Parts { name, region, recipient, read_only: false }, identity, &ending)
    }

    fn event(&self, parts: &Parts<'_>, identity: UserIdentity<'_>, ending: &trail::Ending<'_>) -> Event {
        let source_ip = self.request.client.to_string();
        let bare = trail::Bare {
            request_id: &self.request_id,
            now: self.now,
            region: parts.region,
            source_ip: &source_ip,
            user_agent: self.request.header("user-agent"),
            source: self.service.event_source,
            name: parts.name,
            recipient: parts.recipient,
            access_key_id: None,
            read_only: parts.read_only,
        };
        bare.event(identity, ending, self.inner.uuid())
    }
}

struct Parts<'a> {
    name: &'static str,
    region: &'a str,
    recipient: &'a str,
    read_only: bool,
}

/// Whether CloudTrail counts an operation among the management events. What concerns objects, listing included, is a
/// data event, which is recorded only where a trail selects it; no trail can select S3's yet.
///
/// Source: Amazon S3 User Guide, "Amazon S3 CloudTrail events".
fn is_management(op: &Operation) -> bool {
    const DATA: &[&str] =
        &["DeleteObjects", "HeadBucket", "ListMultipartUploads", "ListObjectVersions", "ListObjects", "ListObjectsV2"];
    !op.uri.contains("{Key+}") && !DATA.contains(&op.name)
}

impl Step<'_, '_> {
    /// The signer.
    ///
    /// # Errors
    /// AccessDenied when nobody signed.
    pub(super) fn caller(&self) -> Result<&Caller> {
        self.call.caller.as_ref().ok_or_else(access_denied)
    }

    /// The bucket named in the path.
    ///
    /// # Errors
    /// `NoSuchBucket`; AccessDenied when it is not the expected owner's.
    pub(super) fn bucket(&mut self, name: &str) -> Result<Bucket> {
        let bucket = bucket::load(self.tx, name)?;
        self.owner = Some(bucket.account.clone());
        self.expect_owner(&bucket, "x-amz-expected-bucket-owner")?;
        Ok(bucket)
    }

    /// The bucket a copy reads from.
    ///
    /// # Errors
    /// As [`Step::bucket`].
    pub(super) fn source_bucket(&mut self, name: &str) -> Result<Bucket> {
        let bucket = bucket::load(self.tx, name)?;
        self.expect_owner(&bucket, "x-amz-source-expected-bucket-owner")?;
        Ok(bucket)
    }

    fn expect_owner(&self, bucket: &Bucket, header: &str) -> Result<()> {
        match self.call.header(header) {
            Some(expected) if expected != bucket.account => Err(access_denied()),
            _ => Ok(()),
        }
    }

    /// Adds a member to what the record shows.
    pub(super) fn show(&mut self, name: &str, value: Value) {
        self.shown.insert(name.to_owned(), value);
    }

    /// Checks the operation's own permission on the bucket.
    ///
    /// # Errors
    /// AccessDenied.
    pub(super) fn allow(&mut self, bucket: &Bucket) -> Result<()> {
        let action = self.op.iam_action.ok_or_else(access_denied)?;
        self.allow_on(bucket, action, bucket.arn(), Vec::new())
    }

    /// As [`Step::allow`] for what manages the bucket's policy: the owner's root may do it whatever the policy says, so
    /// that nobody locks themselves out.
    ///
    /// Source: Amazon S3 API Reference, "PutBucketPolicy".
    ///
    /// # Errors
    /// AccessDenied.
    pub(super) fn allow_on_policy(&mut self, bucket: &Bucket) -> Result<()> {
        let caller = self.caller()?;
        if caller.is_root() && caller.account.as_str() == bucket.account {
            return Ok(());
        }
        self.allow(bucket)
    }

    /// Checks a permission on an object.
    ///
    /// # Errors
    /// AccessDenied.
    pub(super) fn allow_object(&mut self, bucket: &Bucket, action: &str, key: &str) -> Result<()> {
        let acl = self.call.header("x-amz-acl").map(|acl| ("s3:x-amz-acl".to_owned(), acl.to_owned()));
        self.allow_on(bucket, action, bucket.object_arn(key), acl.into_iter().collect())
    }

    /// Checks one permission on something of a bucket.
    ///
    /// # Errors
    /// AccessDenied.
    pub(super) fn allow_on(
        &mut self,
        bucket: &Bucket,
        action: &str,
        resource: String,
        context: Vec<(String, String)>,
    ) -> Result<()> {
        self.allow_all(bucket, &[(action, resource)], context)
    }

    /// Checks several permissions on things of one bucket at once.
    ///
    /// # Errors
    /// AccessDenied, for the first that is refused.
    pub(super) fn allow_all(
        &mut self,
        bucket: &Bucket,
        wanted: &[(&str, String)],
        context: Vec<(String, String)>,
    ) -> Result<()> {
        let resource_policy = policy::effective(self.tx, bucket)?;
        let needs: Vec<Need> = wanted
            .iter()
            .map(|(action, resource)| Need {
                resource_policy: resource_policy.clone(),
                context: context.clone(),
                ..Need::new(*action, resource.as_str(), bucket.account.as_str())
            })
            .collect();
        match &self.call.caller {
            Some(caller) => self.check(caller, &needs),
            None => needs.iter().try_for_each(|need| self.check_anonymous(need)),
        }
    }

    /// Checks a permission on something of the caller's own account that has no policy.
    ///
    /// # Errors
    /// AccessDenied.
    pub(super) fn allow_own(&mut self, action: &str, resource: &str, context: Vec<(String, String)>) -> Result<()> {
        let call = self.call;
        let caller = call.caller.as_ref().ok_or_else(access_denied)?;
        let need = Need { context, ..Need::new(action, resource, caller.account.as_str()) };
        self.check(caller, &[need])
    }

    fn check(&mut self, caller: &Caller, needs: &[Need]) -> Result<()> {
        let call = self.call;
        let circumstances = Circumstances {
            source_ip: call.request.client,
            user_agent: call.request.header("user-agent"),
            secure: call.request.secure,
            region: &call.region,
            now: call.now,
        };
        authorize::check(&call.inner.compiled, call.service, caller, needs, &circumstances, self.tx)
    }

    /// Nobody has no policies of their own: the bucket's alone decides.
    fn check_anonymous(&self, need: &Need) -> Result<()> {
        let call = self.call;
        let Some(text) = &need.resource_policy else { return Err(access_denied()) };
        let compiled = call.inner.compiled.get(text, Kind::Resource)?;
        let mut context = Context::new();
        context.insert("aws:SourceIp", call.request.client.to_string());
        context.insert("aws:SecureTransport", call.request.secure.to_string());
        context.insert("aws:CurrentTime", call.now.iso_s());
        context.insert("aws:EpochTime", call.now.s().to_string());
        context.insert("aws:RequestedRegion", call.region.as_str());
        context.insert("aws:PrincipalType", "Anonymous");
        if let Some(agent) = call.request.header("user-agent") {
            context.insert("aws:UserAgent", agent);
        }
        for (key, value) in &need.context {
            context.insert(key, value.as_str());
        }
        let request = ::policy::Request {
            action: &need.action,
            resource: &need.resource,
            principal: &Principal::Anonymous,
            context: &context,
        };
        let decision = decide(&Decide {
            identity: &[],
            boundary: None,
            session: None,
            resource: Some(&compiled),
            same_account: false,
            is_root: false,
            request: &request,
        });
        if decision.is_allowed() { Ok(()) } else { Err(access_denied()) }
    }
}
