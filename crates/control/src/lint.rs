//! `portcullis lint`: what works today and will surprise somebody tomorrow.
//!
//! The policies of functions are read from one snapshot of the store, page by page; what authorizers answered comes from
//! the gateway's notes. Nothing is changed.

mod permission;
mod wording;

use std::collections::BTreeSet;

use apigateway::{authorizer::Authorizer, rest_api::Owner};
use lambda::permission::ResourcePolicy;
use platform::account;
use serde::{Deserialize, Serialize};
use service::{Key, Range, Reader, Record, Result, Scope, ServiceError, Tx, decode_document};

use crate::{Control, Inner, reader::SnapshotReader};

/// Most warnings of one report.
const WARNINGS_MAX: usize = 1_000;
/// Most records read for one report.
const RECORDS_MAX: usize = 200_000;
/// Records of one page.
const PAGE: usize = 200;

/// Where functions are looked for besides the regions of APIs and of what stages call, as the store lists no regions.
///
/// Source: AWS General Reference, "AWS Lambda endpoints and quotas".
const REGIONS: &[&str] = &[
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "cn-north-1",
    "cn-northwest-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "us-west-1",
    "us-west-2",
];

/// One thing worth mending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    /// Stable, such as `stale-permission`.
    pub code: String,
    /// The account it is found in: the function's for a permission, the API's for an authorizer's answers.
    pub account_id: String,
    pub about: About,
    /// One sentence.
    pub text: String,
    /// Commands, or advice where no command mends it.
    #[serde(default)]
    pub repair: Vec<String>,
}

/// What a warning is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorizer_id: Option<String>,
    /// Qualifier included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function_arn: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement_id: Option<String>,
}

impl Warning {
    /// Whether it concerns an account: as the place, or as owner of the function.
    fn concerns(&self, account: &str) -> bool {
        let function = self.about.function_arn.as_deref().unwrap_or_default();
        self.account_id == account || function.split(':').nth(4) == Some(account)
    }
}

/// All warnings, in the order of accounts and functions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub warnings: Vec<Warning>,
    /// Whether there was more than one report reads or holds.
    #[serde(default)]
    pub truncated: bool,
}

impl Report {
    fn add(&mut self, warning: Warning) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(warning);
        } else {
            self.truncated = true;
        }
    }
}

impl Control {
    /// Looks for what is worth mending, in all accounts or in one. Blocks.
    ///
    /// # Errors
    /// 404 for an account there is not, 503 when the store cannot be read.
    pub fn lint(&self, account: Option<&str>) -> Result<Report> {
        let mut report = Report::default();
        for observation in self.inner.gateway().observations() {
            let warning = wording::observed(&observation);
            if account.is_none_or(|account| warning.concerns(account)) {
                report.add(warning);
            }
        }
        let mut pass = Pass { inner: &self.inner, left: RECORDS_MAX, report };
        pass.accounts(account)?;
        Ok(pass.report)
    }
}

/// Records of one noun as the store holds them.
type Page = Vec<(Key, Vec<u8>)>;

/// One look through the store.
struct Pass<'a> {
    inner: &'a Inner,
    /// Records that may still be read.
    left: usize,
    report: Report,
}

impl Pass<'_> {
    fn accounts(&mut self, only: Option<&str>) -> Result<()> {
        let mut reader = SnapshotReader::new(&*self.inner.store, &self.inner.vault)?;
        let all = account::list(&mut Tx::new(&mut reader))?;
        let wanted: Vec<String> =
            all.into_iter().map(|it| it.id).filter(|id| only.is_none_or(|only| id == only)).collect();
        if let (Some(only), []) = (only, wanted.as_slice()) {
            return Err(ServiceError::new("NotFoundException", 404, format!("there is no account {only}")));
        }
        let regions = self.regions(&mut reader)?;
        for account in &wanted {
            for region in &regions {
                self.functions(&Scope::regional(account, region), &mut reader)?;
                if self.report.truncated {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn regions(&mut self, reader: &mut SnapshotReader<'_>) -> Result<BTreeSet<String>> {
        let mut regions: BTreeSet<String> = REGIONS.iter().map(|&region| region.to_owned()).collect();
        regions.extend(self.inner.gateway().function_regions().into_iter().map(|(_, region)| region));
        let mut after = None;
        while let Some(page) = self.page(Owner::NOUN, &Scope::installation(), &mut after, reader)? {
            for (_, document) in page {
                regions.insert(decode_document::<Owner>(&document)?.region);
            }
        }
        Ok(regions)
    }

    fn functions(&mut self, scope: &Scope, reader: &mut SnapshotReader<'_>) -> Result<()> {
        let mut after = None;
        while let Some(page) = self.page(ResourcePolicy::NOUN, scope, &mut after, reader)? {
            for (key, document) in page {
                let policy = decode_document::<ResourcePolicy>(&document)?;
                self.policy(scope, &key.parent, &policy, reader)?;
            }
        }
        Ok(())
    }

    /// The next page of a noun under every parent; `None` after the last, or when enough was read.
    fn page(
        &mut self,
        noun: &'static str,
        scope: &Scope,
        after: &mut Option<(String, String)>,
        reader: &mut SnapshotReader<'_>,
    ) -> Result<Option<Page>> {
        if self.report.truncated {
            return Ok(None);
        }
        let range = Range {
            scope: scope.clone(),
            noun,
            parent: String::new(),
            prefix: true,
            after: after.clone(),
            limit: PAGE,
        };
        let page = reader.list(&range, false)?;
        let Some((last, _)) = page.last() else { return Ok(None) };
        *after = Some((last.parent.clone(), last.id.clone()));
        self.spend(page.len());
        Ok(Some(page))
    }

    fn spend(&mut self, records: usize) {
        self.left = self.left.saturating_sub(records);
        if self.left == 0 {
            self.report.truncated = true;
        }
    }

    fn policy(
        &mut self,
        scope: &Scope,
        function: &str,
        policy: &ResourcePolicy,
        reader: &mut SnapshotReader<'_>,
    ) -> Result<()> {
        let place = permission::Place::of(scope, function, &policy.qualifier);
        if let Some(warning) = permission::size(&place, lambda::permission::used_bytes(policy)) {
            self.report.add(warning);
        }
        for statement in &policy.statements {
            if permission::is_open(statement) {
                let sources = self.inner.gateway().sources(&place.arn());
                self.report.add(permission::open(&place, statement, sources, &policy.statements));
            }
            let Some(sources) = permission::authorizers(statement) else { continue };
            let mut gone = Vec::new();
            for source in &sources {
                if !self.exists(source, reader)? {
                    gone.push(source);
                }
            }
            if let Some(first) = gone.first() {
                self.report.add(permission::stale(&place, statement, first, gone.len() == sources.len()));
            }
        }
        Ok(())
    }

    /// Whether there is such an authorizer: in the API as it is, or in a deployment that is served.
    fn exists(&mut self, source: &permission::AuthorizerArn, reader: &mut SnapshotReader<'_>) -> Result<bool> {
        self.spend(2);
        let mut tx = Tx::new(reader);
        let Some(owner) = tx.get::<Owner>(&Scope::installation(), "", &source.api)? else { return Ok(false) };
        if owner.account != source.account {
            return Ok(false);
        }
        // The ARN presented names the function's region, which need not be the API's.
        let scope = Scope::regional(owner.account, owner.region);
        let configured = tx.get::<Authorizer>(&scope, &source.api, &source.authorizer)?.is_some();
        Ok(configured || self.inner.gateway().serves_authorizer(&source.api, &source.authorizer))
    }
}
