//! Every operation against AWS's model: its name exists there, and no member of its input is met with silence.

use std::fmt;

use serde::{Deserialize, Deserializer, de::Visitor, forward_to_deserialize_any};
use service::Operation;

/// Asks a struct for its field names instead of giving it values.
#[derive(Clone, Copy)]
struct FieldNames;

#[derive(Debug)]
enum Asked {
    Fields(&'static [&'static str]),
    Other(String),
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Asked {}

impl serde::de::Error for Asked {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }
}

impl<'de> Deserializer<'de> for FieldNames {
    type Error = Asked;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Asked> {
        Err(Asked::Other("not a struct".to_owned()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Asked> {
        Err(Asked::Fields(fields))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

fn check<O: Operation>(seen: &mut Vec<&'static str>) {
    let read = match O::Input::deserialize(FieldNames) {
        Err(Asked::Fields(fields)) => fields,
        Err(Asked::Other(error)) => panic!("{}: {error}", O::NAME),
        Ok(_) => panic!("{}: the input is no struct", O::NAME),
    };
    let service = wire::table::service("lambda").expect("lambda has a table");
    let operation = service.operation(O::NAME).unwrap_or_else(|| panic!("AWS has no {}", O::NAME));
    let members: Vec<&str> = operation.members().collect();
    for member in &members {
        let ways = [read, O::REFUSED, O::IGNORED].iter().filter(|names| names.contains(member)).count();
        assert_eq!(ways, 1, "{}.{member} is to be read, refused or ignored, one of them", O::NAME);
    }
    for name in read.iter().chain(O::REFUSED).chain(O::IGNORED) {
        assert!(members.contains(name), "{}.{name} is not in AWS's model", O::NAME);
    }
    if let Some(upload) = O::UPLOAD {
        assert!(members.contains(&upload.path[0]), "{}", O::NAME);
    }
    seen.push(O::NAME);
}

#[test]
fn operations_and_members_are_those_of_awss_model() {
    let mut seen = Vec::new();
    check::<crate::function::CreateFunction>(&mut seen);
    check::<crate::function::GetFunction>(&mut seen);
    check::<crate::function::GetFunctionConfiguration>(&mut seen);
    check::<crate::function::ListFunctions>(&mut seen);
    check::<crate::function::UpdateFunctionCode>(&mut seen);
    check::<crate::function::UpdateFunctionConfiguration>(&mut seen);
    check::<crate::function::DeleteFunction>(&mut seen);
    check::<crate::version::PublishVersion>(&mut seen);
    check::<crate::version::ListVersionsByFunction>(&mut seen);
    check::<crate::alias::CreateAlias>(&mut seen);
    check::<crate::alias::GetAlias>(&mut seen);
    check::<crate::alias::UpdateAlias>(&mut seen);
    check::<crate::alias::DeleteAlias>(&mut seen);
    check::<crate::alias::ListAliases>(&mut seen);
    check::<crate::permission::AddPermission>(&mut seen);
    check::<crate::permission::RemovePermission>(&mut seen);
    check::<crate::permission::GetPolicy>(&mut seen);
    check::<crate::permission::PutResourcePolicy>(&mut seen);
    check::<crate::permission::GetResourcePolicy>(&mut seen);
    check::<crate::runtime_management::GetRuntimeManagementConfig>(&mut seen);
    check::<crate::runtime_management::PutRuntimeManagementConfig>(&mut seen);
    check::<crate::permission::DeleteResourcePolicy>(&mut seen);
    check::<crate::tags::ListTags>(&mut seen);
    check::<crate::tags::TagResource>(&mut seen);
    check::<crate::tags::UntagResource>(&mut seen);
    check::<crate::concurrency::PutFunctionConcurrency>(&mut seen);
    check::<crate::concurrency::GetFunctionConcurrency>(&mut seen);
    check::<crate::concurrency::DeleteFunctionConcurrency>(&mut seen);
    check::<crate::concurrency::GetAccountSettings>(&mut seen);
    check::<crate::concurrency::GetFunctionCodeSigningConfig>(&mut seen);
    check::<crate::event_invoke_config::PutFunctionEventInvokeConfig>(&mut seen);
    check::<crate::event_invoke_config::UpdateFunctionEventInvokeConfig>(&mut seen);
    check::<crate::event_invoke_config::GetFunctionEventInvokeConfig>(&mut seen);
    check::<crate::event_invoke_config::DeleteFunctionEventInvokeConfig>(&mut seen);
    check::<crate::event_invoke_config::ListFunctionEventInvokeConfigs>(&mut seen);
    check::<crate::layer::PublishLayerVersion>(&mut seen);
    check::<crate::layer::GetLayerVersion>(&mut seen);
    check::<crate::layer::GetLayerVersionByArn>(&mut seen);
    check::<crate::layer::ListLayers>(&mut seen);
    check::<crate::layer::ListLayerVersions>(&mut seen);
    check::<crate::layer::DeleteLayerVersion>(&mut seen);
    check::<crate::layer::AddLayerVersionPermission>(&mut seen);
    check::<crate::layer::RemoveLayerVersionPermission>(&mut seen);
    check::<crate::layer::GetLayerVersionPolicy>(&mut seen);
    check::<crate::provisioned::PutProvisionedConcurrencyConfig>(&mut seen);
    check::<crate::provisioned::GetProvisionedConcurrencyConfig>(&mut seen);
    check::<crate::provisioned::DeleteProvisionedConcurrencyConfig>(&mut seen);
    check::<crate::provisioned::ListProvisionedConcurrencyConfigs>(&mut seen);
    let mut listed: Vec<&str> = crate::OPERATIONS.iter().flat_map(|noun| noun.iter()).map(|entry| entry.name).collect();
    listed.sort_unstable();
    seen.sort_unstable();
    assert_eq!(listed, seen);
}

/// The nested shape whose members this crate names itself.
#[test]
fn code_names_every_source_awss_model_has() {
    let service = wire::table::service("lambda").expect("lambda has a table");
    let input = service.operation("CreateFunction").and_then(|operation| operation.input).expect("an input");
    let code = input.structure().and_then(|structure| structure.member("Code")).expect("Code");
    let names: Vec<&str> =
        code.shape.structure().expect("a structure").members.iter().map(|member| member.name).collect();
    let Err(Asked::Fields(read)) = crate::function::Code::deserialize(FieldNames) else {
        panic!("Code is a struct");
    };
    assert_eq!(names, read);
}

/// What an earlier release stored reads, and writes the same.
#[test]
fn stored_forms_are_kept() {
    fn kept<R: service::Record>(stored: &serde_json::Value) -> &'static str {
        let record = R::deserialize(&stored[R::NOUN]).unwrap_or_else(|error| panic!("{}: {error}", R::NOUN));
        assert_eq!(serde_json::to_string(&record).expect("JSON"), stored[R::NOUN].to_string());
        R::NOUN
    }
    let stored = serde_json::from_str(include_str!("../testdata/records/records.json")).expect("JSON");
    let nouns = [
        kept::<crate::function::Function>(&stored),
        kept::<crate::version::Version>(&stored),
        kept::<crate::alias::Alias>(&stored),
        kept::<crate::permission::ResourcePolicy>(&stored),
        kept::<crate::event_invoke_config::EventInvokeConfig>(&stored),
        kept::<crate::layer::Layer>(&stored),
        kept::<crate::layer::LayerVersion>(&stored),
        kept::<crate::layer::LayerPolicy>(&stored),
        kept::<crate::provisioned::ProvisionedConcurrency>(&stored),
        kept::<crate::provisioned::ProvisionedFunction>(&stored),
        kept::<crate::life::Preparation>(&stored),
    ];
    assert_eq!(stored.as_object().map(serde_json::Map::len), Some(nouns.len()));
    // The same nouns with what the first form did not have.
    let under_way = serde_json::from_str(include_str!("../testdata/records/under-way.json")).expect("JSON");
    kept::<crate::function::Function>(&under_way);
    kept::<crate::version::Version>(&under_way);
}
