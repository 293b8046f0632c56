//! The managed policies of AWS that tools attach most, with AWS's documents.
//!
//! Source: AWS Managed Policy Reference Guide.

use serde_json::{Value, json};
use service::Timestamp;

use super::attachment::Use;

/// A policy of AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AwsPolicy {
    /// `arn:aws:iam::aws:policy/..`.
    pub arn: &'static str,
    /// What it allows.
    pub document: &'static str,
}

/// Every one known here. One that is not is refused at the call, as AWS refuses one that does not exist.
pub const POLICIES: &[AwsPolicy] = &[AwsPolicy {
    arn: "arn:aws:iam::aws:policy/AdministratorAccess",
    document: r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#,
}];

/// The policy of that ARN.
#[must_use]
pub fn find(arn: &str) -> Option<&'static AwsPolicy> {
    POLICIES.iter().find(|policy| policy.arn == arn)
}

/// What AWS's own policies say of their making: the date is not kept here, so it is IAM's first day, in ms.
const CREATED: Timestamp = Timestamp::from_ms(1_272_672_000_000);

impl AwsPolicy {
    /// `/` or `/service-role/`.
    #[must_use]
    pub fn path(&self) -> &'static str {
        let resource = self.arn.split_once(":policy").map_or("/", |(_, resource)| resource);
        resource.rfind('/').and_then(|at| resource.get(..=at)).unwrap_or("/")
    }

    /// Its name, the last part of the ARN.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.arn.rsplit('/').next().unwrap_or(self.arn)
    }

    pub(crate) fn view(&self, in_use: &Use, detail: bool) -> Value {
        let mut policy = json!({
            "PolicyName": self.name(),
            "PolicyId": self.id(),
            "Arn": self.arn,
            "Path": self.path(),
            "DefaultVersionId": "v1",
            "AttachmentCount": in_use.attachments,
            "PermissionsBoundaryUsageCount": in_use.boundaries,
            "IsAttachable": true,
            "CreateDate": CREATED.s(),
            "UpdateDate": CREATED.s(),
        });
        if detail && let Some(members) = policy.as_object_mut() {
            members.insert("Tags".into(), json!([]));
        }
        policy
    }

    /// The policy as a version, the only one kept here.
    pub(crate) fn version(&self) -> super::policy::Version {
        super::policy::Version { version_id: "v1".into(), document: self.document.to_owned(), create_date: CREATED }
    }

    /// An id that is the same on every node: drawn from the name, in the alphabet of the real ones.
    fn id(&self) -> String {
        use sha2::{Digest, Sha256};
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let digest = Sha256::digest(self.arn.as_bytes());
        let letters = digest.iter().filter_map(|byte| alphabet.get(usize::from(*byte) % alphabet.len()));
        format!("ANPA{}", letters.take(17).map(|c| char::from(*c)).collect::<String>())
    }
}
