//! How much of everything is taken. Numbers of AWS's where AWS names one, bounds of our own elsewhere, so that no call
//! can make another one expensive.
//!
//! Source: API Gateway Developer Guide, "Amazon API Gateway quotas and important notes".

use std::collections::BTreeMap;

use service::Result;

use crate::error::bad_request;

/// REST APIs of one account in one region.
pub const REST_APIS_MAX: u32 = 600;
/// Resources of one API, the root included.
pub const RESOURCES_MAX: usize = 300;
/// Stages of one API.
pub const STAGES_MAX: usize = 10;
/// Authorizers of one API.
pub const AUTHORIZERS_MAX: usize = 10;
/// Deployments of one API. AWS names no number; this one lets an API be deleted in one commit of the store.
pub const DEPLOYMENTS_MAX: u32 = 5_000;
/// API keys of one account in one region.
pub const API_KEYS_MAX: u32 = 10_000;
/// Usage plans of one account in one region.
pub const USAGE_PLANS_MAX: usize = 300;
/// Usage plans one API key may be in.
pub const PLANS_OF_KEY_MAX: usize = 10;
/// Stages of one usage plan. AWS names no number.
pub const PLAN_STAGES_MAX: usize = 100;
/// Methods of one stage with settings of their own. AWS names no number.
pub const METHOD_SETTINGS_MAX: usize = 1_000;
/// Entries of one map of templates, parameters or models. AWS names no number.
pub const MAP_ENTRIES_MAX: usize = 100;
/// One mapping template.
pub const TEMPLATE_BYTES_MAX: usize = 300 * 1024;
/// One stored gateway response. AWS names no number.
pub const GATEWAY_RESPONSE_BYTES_MAX: usize = 1024 * 1024;
/// One stored method with its integration and responses. AWS names no number.
pub const METHOD_BYTES_MAX: usize = 1024 * 1024;
/// One frozen API, which is AWS's limit for an API's definition.
pub const SNAPSHOT_BYTES_MAX: usize = 6 * 1024 * 1024;
/// Tags of one thing.
pub const TAGS_MAX: usize = 50;
/// Variables of one stage.
pub const VARIABLES_MAX: usize = 100;
/// A name, a description, a pattern or an expression.
pub const TEXT_CHARS_MAX: usize = 1024;
/// A URI, an identity source, a whole path.
pub const LONG_TEXT_CHARS_MAX: usize = 8192;

pub(crate) fn check_text(member: &str, text: &str) -> Result<()> {
    check_chars(member, text, TEXT_CHARS_MAX)
}

pub(crate) fn check_chars(member: &str, text: &str, chars_max: usize) -> Result<()> {
    if text.chars().count() > chars_max {
        return Err(bad_request(format!("Invalid {member} specified, can be at most {chars_max} characters.")));
    }
    Ok(())
}

pub(crate) fn check_entries<T>(member: &str, map: &BTreeMap<String, T>) -> Result<()> {
    if map.len() > MAP_ENTRIES_MAX {
        return Err(bad_request(format!("Invalid {member} specified, can have at most {MAP_ENTRIES_MAX} entries.")));
    }
    map.keys().try_for_each(|key| check_chars(member, key, 512))
}

/// Source: API Gateway Developer Guide, "Tag restrictions". AWS's own texts are not recorded \[U\].
pub(crate) fn check_tags(tags: &BTreeMap<String, String>) -> Result<()> {
    let refuse = |text: String| -> Result<()> { Err(bad_request(text)) };
    if tags.len() > TAGS_MAX {
        return refuse(format!("A resource can have at most {TAGS_MAX} tags."));
    }
    for (key, value) in tags {
        if key.is_empty() || key.chars().count() > 128 {
            return refuse("A tag key must have 1 to 128 characters.".to_owned());
        }
        if value.chars().count() > 256 {
            return refuse(format!("The value of the tag {key} can have at most 256 characters."));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return refuse(format!("The tag key {key} begins with aws:, which is reserved."));
        }
    }
    Ok(())
}
