use serde_json::{Value, json};
use service::Upload;

use super::{Source, refer, take};

const CODE: Upload = Upload { path: &["Code", "ZipFile"] };
const ZIP: Upload = Upload { path: &["ZipFile"] };

/// What is taken, in short.
fn taken(upload: Upload, params: &mut Value) -> Option<String> {
    take(upload, params).map(|source| match source {
        Source::Inline(text) => text,
        Source::Object { bucket, key, version } => {
            format!("{bucket}/{key}@{}", version.as_deref().unwrap_or("-"))
        }
        Source::Ambiguous => "both".to_owned(),
    })
}

#[test]
fn code_stands_in_the_call_or_lies_in_s3() {
    for (upload, mut params, expected) in [
        (ZIP, json!({ "ZipFile": "UEs=" }), Some("UEs=")),
        (CODE, json!({ "Code": { "ZipFile": "UEs=" } }), Some("UEs=")),
        (CODE, json!({ "Code": { "S3Bucket": "b", "S3Key": "k" } }), Some("b/k@-")),
        (ZIP, json!({ "S3Bucket": "b", "S3Key": "k", "S3ObjectVersion": "v" }), Some("b/k@v")),
        (ZIP, json!({ "ZipFile": "UEs=", "S3Bucket": "b", "S3Key": "k" }), Some("both")),
        (ZIP, json!({ "ZipFile": "UEs=", "S3Key": "k" }), Some("both")),
        (CODE, json!({ "Code": { "S3Bucket": "b" } }), None),
        (CODE, json!({ "Code": {} }), None),
        (CODE, json!({}), None),
        (ZIP, json!({ "ZipFile": { "Blob": "made up" } }), None),
    ] {
        let shown = params.to_string();
        assert_eq!(taken(upload, &mut params).as_deref(), expected, "{shown}");
    }
}

#[test]
fn what_was_taken_is_not_there_any_more_and_its_reference_is() {
    let mut params = json!({ "Code": { "ZipFile": "UEs=" } });
    taken(CODE, &mut params);
    assert_eq!(params, json!({ "Code": { "ZipFile": "" } }));
    refer(CODE, &mut params, json!({ "Blob": "aa" }));
    assert_eq!(params, json!({ "Code": { "ZipFile": { "Blob": "aa" } } }));
    let mut params = json!({ "S3Bucket": "b", "S3Key": "k" });
    taken(ZIP, &mut params);
    refer(ZIP, &mut params, json!({ "Blob": "aa" }));
    assert_eq!(params, json!({ "S3Bucket": "b", "S3Key": "k", "ZipFile": { "Blob": "aa" } }), "the record names it");
}
