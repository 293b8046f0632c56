//! The managed policies of AWS that tools attach most, with AWS's documents.
//!
//! `ReadOnlyAccess`, `SecurityAudit` and `ViewOnlyAccess` are cut to the services this installation has: what they say
//! of others could never be asked.
//!
//! Source: AWS Managed Policy Reference Guide.

use serde_json::{Value, json};
use service::Timestamp;
use sha2::{Digest, Sha256};

use super::attachment::Use;
use super::policy::Version;

/// A policy of AWS. Only the version in force is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AwsPolicy {
    /// `arn:aws:iam::aws:policy/..`.
    pub arn: &'static str,
    /// Such as `v1`.
    pub version_id: &'static str,
    /// When AWS made it, in epoch seconds.
    pub created_s: i64,
    /// When AWS last changed it, in epoch seconds.
    pub updated_s: i64,
    /// What it allows.
    pub document: &'static str,
}

/// Every one known here. One that is not is refused at the call, as AWS refuses one that does not exist.
pub const POLICIES: &[AwsPolicy] = &[
    AwsPolicy {
        arn: "arn:aws:iam::aws:policy/AdministratorAccess",
        version_id: "v1",
        created_s: 1_423_247_986,
        updated_s: 1_423_247_986,
        document: include_str!("AdministratorAccess.json"),
    },
    AwsPolicy {
        arn: "arn:aws:iam::aws:policy/PowerUserAccess",
        version_id: "v12",
        created_s: 1_423_247_987,
        updated_s: 1_770_919_154,
        document: include_str!("PowerUserAccess.json"),
    },
    AwsPolicy {
        arn: "arn:aws:iam::aws:policy/ReadOnlyAccess",
        version_id: "v182",
        created_s: 1_423_247_988,
        updated_s: 1_775_230_032,
        document: include_str!("ReadOnlyAccess.json"),
    },
    AwsPolicy {
        arn: "arn:aws:iam::aws:policy/IAMFullAccess",
        version_id: "v2",
        created_s: 1_423_248_038,
        updated_s: 1_561_146_000,
        document: include_str!("IAMFullAccess.json"),
    },
    AwsPolicy {
        arn: "arn:aws:iam::aws:policy/IAMReadOnlyAccess",
        version_id: "v4",
        created_s: 1_423_248_039,
        updated_s: 1_516_907_487,
        document: include_str!("IAMReadOnlyAccess.json"),
    },
    AwsPolicy {
        arn: "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
        version_id: "v1",
        created_s: 1_428_591_823,
        updated_s: 1_428_591_823,
        document: include_str!("AWSLambdaBasicExecutionRole.json"),
    },
    AwsPolicy {
        arn: "arn:aws:iam::aws:policy/AWSLambda_FullAccess",
        version_id: "v7",
        created_s: 1_605_647_648,
        updated_s: 1_770_919_251,
        document: include_str!("AWSLambda_FullAccess.json"),
    },
    AwsPolicy {
        arn: "arn:aws:iam::aws:policy/AWSLambda_ReadOnlyAccess",
        version_id: "v5",
        created_s: 1_605_647_432,
        updated_s: 1_770_919_375,
        document: include_str!("AWSLambda_ReadOnlyAccess.json"),
    },
    AwsPolicy {
        arn: "arn:aws:iam::aws:policy/AmazonAPIGatewayAdministrator",
        version_id: "v1",
        created_s: 1_436_463_285,
        updated_s: 1_436_463_285,
        document: include_str!("AmazonAPIGatewayAdministrator.json"),
    },
    AwsPolicy {
        arn: "arn:aws:iam::aws:policy/AmazonAPIGatewayInvokeFullAccess",
        version_id: "v2",
        created_s: 1_436_463_372,
        updated_s: 1_545_157_510,
        document: include_str!("AmazonAPIGatewayInvokeFullAccess.json"),
    },
    AwsPolicy {
        arn: "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs",
        version_id: "v1",
        created_s: 1_447_285_306,
        updated_s: 1_447_285_306,
        document: include_str!("AmazonAPIGatewayPushToCloudWatchLogs.json"),
    },
    AwsPolicy {
        arn: "arn:aws:iam::aws:policy/AmazonS3FullAccess",
        version_id: "v2",
        created_s: 1_423_248_058,
        updated_s: 1_632_773_797,
        document: include_str!("AmazonS3FullAccess.json"),
    },
    AwsPolicy {
        arn: "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess",
        version_id: "v3",
        created_s: 1_423_248_059,
        updated_s: 1_691_703_099,
        document: include_str!("AmazonS3ReadOnlyAccess.json"),
    },
    AwsPolicy {
        arn: "arn:aws:iam::aws:policy/AWSCloudTrail_FullAccess",
        version_id: "v3",
        created_s: 1_602_200_475,
        updated_s: 1_614_020_460,
        document: include_str!("AWSCloudTrail_FullAccess.json"),
    },
    AwsPolicy {
        arn: "arn:aws:iam::aws:policy/AWSCloudTrail_ReadOnlyAccess",
        version_id: "v1",
        created_s: 1_655_227_145,
        updated_s: 1_655_227_145,
        document: include_str!("AWSCloudTrail_ReadOnlyAccess.json"),
    },
    AwsPolicy {
        arn: "arn:aws:iam::aws:policy/CloudWatchLogsFullAccess",
        version_id: "v8",
        created_s: 1_423_248_002,
        updated_s: 1_770_919_233,
        document: include_str!("CloudWatchLogsFullAccess.json"),
    },
    AwsPolicy {
        arn: "arn:aws:iam::aws:policy/CloudWatchLogsReadOnlyAccess",
        version_id: "v12",
        created_s: 1_423_248_003,
        updated_s: 1_770_919_153,
        document: include_str!("CloudWatchLogsReadOnlyAccess.json"),
    },
    AwsPolicy {
        arn: "arn:aws:iam::aws:policy/SecurityAudit",
        version_id: "v86",
        created_s: 1_423_248_061,
        updated_s: 1_777_605_133,
        document: include_str!("SecurityAudit.json"),
    },
    AwsPolicy {
        arn: "arn:aws:iam::aws:policy/service-role/AWSLambdaRole",
        version_id: "v1",
        created_s: 1_423_248_088,
        updated_s: 1_423_248_088,
        document: include_str!("AWSLambdaRole.json"),
    },
    AwsPolicy {
        arn: "arn:aws:iam::aws:policy/AWSLambdaExecute",
        version_id: "v1",
        created_s: 1_423_248_046,
        updated_s: 1_423_248_046,
        document: include_str!("AWSLambdaExecute.json"),
    },
    AwsPolicy {
        arn: "arn:aws:iam::aws:policy/job-function/ViewOnlyAccess",
        version_id: "v45",
        created_s: 1_478_798_415,
        updated_s: 1_776_881_541,
        document: include_str!("ViewOnlyAccess.json"),
    },
];

/// The policy of that ARN.
#[must_use]
pub fn find(arn: &str) -> Option<&'static AwsPolicy> {
    POLICIES.iter().find(|policy| policy.arn == arn)
}

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
            "DefaultVersionId": self.version_id,
            "AttachmentCount": in_use.attachments,
            "PermissionsBoundaryUsageCount": in_use.boundaries,
            "IsAttachable": true,
            "CreateDate": self.created_s,
            "UpdateDate": self.updated_s,
        });
        if detail && let Some(members) = policy.as_object_mut() {
            members.insert("Tags".into(), json!([]));
        }
        policy
    }

    /// The version in force.
    pub(crate) fn version(&self) -> Version {
        Version {
            version_id: self.version_id.to_owned(),
            document: self.document.to_owned(),
            create_date: Timestamp::from_ms(self.updated_s.saturating_mul(1000)),
        }
    }

    /// An id that is the same on every node: drawn from the ARN, in the alphabet of the real ones.
    fn id(&self) -> String {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let digest = Sha256::digest(self.arn.as_bytes());
        let letters = digest.iter().filter_map(|byte| alphabet.get(usize::from(*byte) % alphabet.len()));
        format!("ANPA{}", letters.take(17).map(|c| char::from(*c)).collect::<String>())
    }
}
