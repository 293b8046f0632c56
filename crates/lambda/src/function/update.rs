//! UpdateFunctionCode and UpdateFunctionConfiguration.

use serde::Deserialize;
use serde_json::Value;
use service::{Cx, Need, Operation, Result, Tx, Upload};

use super::Code;
use crate::{
    configuration::{
        Answer, Configuration, Environment, EphemeralStorage, check_role, check_runtime, check_unenforced, pass_role,
        without_secrets,
    },
    error::invalid,
    layer,
    logging::LoggingConfig,
    name::{Address, Sharing},
    version,
};

/// Replaces the code of `$LATEST`.
pub struct UpdateFunctionCode;

/// Input of [`UpdateFunctionCode`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateFunctionCodeInput {
    function_name: String,
    zip_file: Option<Value>,
    s3_bucket: Option<Value>,
    s3_key: Option<Value>,
    s3_object_version: Option<Value>,
    s3_object_storage_mode: Option<Value>,
    image_uri: Option<Value>,
    #[serde(rename = "SourceKMSKeyArn")]
    source_kms_key_arn: Option<Value>,
    architectures: Option<Value>,
    publish: Option<bool>,
    dry_run: Option<bool>,
    revision_id: Option<String>,
}

impl Operation for UpdateFunctionCode {
    const NAME: &'static str = "UpdateFunctionCode";
    type Input = UpdateFunctionCodeInput;
    type Output = Answer;

    // `$LATEST.PUBLISHED` belongs to managed instances, which do not exist here.
    const REFUSED: &'static [&'static str] = &["PublishTo"];
    const UPLOAD: Option<Upload> = Some(Upload { path: &["ZipFile"] });

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let address = Address::resolve_unqualified(&input.function_name, cx)?;
        Ok(vec![address.need(default, Sharing::Shared, tx)?])
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let address = Address::resolve_unqualified(&input.function_name, cx)?;
        let mut function = address.function(tx)?;
        if input.image_uri.as_ref().is_some_and(|uri| !uri.is_null()) {
            return Err(invalid("Please don't provide ImageUri when updating a function with packageType Zip."));
        }
        check_unenforced(&[("Architectures", &input.architectures)])?;
        function.status.check_settled(&address.arn())?;
        function.check_revision(input.revision_id.as_deref())?;
        let uploaded = Code {
            zip_file: input.zip_file,
            s3_bucket: input.s3_bucket,
            s3_key: input.s3_key,
            s3_object_version: input.s3_object_version,
            s3_object_storage_mode: input.s3_object_storage_mode,
            image_uri: None,
            source_kms_key_arn: input.source_kms_key_arn,
        }
        .uploaded()?;
        let mut next = function.next();
        next.set_code(uploaded);
        next.check_size()?;
        if input.dry_run == Some(true) {
            return Ok(Answer::new(next.configuration, &function.status));
        }
        let scope = address.scope();
        function.revise(next, &scope, cx, tx)?;
        let shown = if input.publish == Some(true) {
            version::publish(&address, &mut function, None, cx, tx)?
        } else {
            function.configuration.clone()
        };
        tx.put(&scope, "", &address.function, &function)?;
        Ok(Answer::new(shown, &function.status))
    }

    fn trail_parameters(params: &Value) -> Value {
        without_secrets(params)
    }

    fn trail_response(output: &Value) -> Value {
        without_secrets(output)
    }
}

/// Changes the configuration of `$LATEST`; what is not given stays.
pub struct UpdateFunctionConfiguration;

/// Input of [`UpdateFunctionConfiguration`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateFunctionConfigurationInput {
    function_name: String,
    role: Option<String>,
    handler: Option<String>,
    description: Option<String>,
    timeout: Option<u32>,
    memory_size: Option<u32>,
    environment: Option<Environment>,
    runtime: Option<String>,
    revision_id: Option<String>,
    ephemeral_storage: Option<EphemeralStorage>,
    layers: Option<Vec<String>>,
    logging_config: Option<LoggingConfig>,
    // Not enforced: accepted where they say what holds anyway, see `check_unenforced`.
    vpc_config: Option<Value>,
    dead_letter_config: Option<Value>,
    #[serde(rename = "KMSKeyArn")]
    kms_key_arn: Option<Value>,
    tracing_config: Option<Value>,
    file_system_configs: Option<Value>,
    image_config: Option<Value>,
    snap_start: Option<Value>,
}

impl Operation for UpdateFunctionConfiguration {
    const NAME: &'static str = "UpdateFunctionConfiguration";
    type Input = UpdateFunctionConfigurationInput;
    type Output = Answer;

    // As for CreateFunction.
    const REFUSED: &'static [&'static str] =
        &["CapacityProviderConfig", "DurableConfig", "RuntimeConfig", "AcceleratorConfig"];

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let address = Address::resolve_unqualified(&input.function_name, cx)?;
        let mut needs = vec![address.need(default, Sharing::Owner, tx)?];
        needs.extend(input.role.as_deref().map(|role| pass_role(role, address.account.as_str())));
        needs.extend(layer::attach_needs(input.layers.as_deref().unwrap_or_default(), tx)?);
        Ok(needs)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let address = Address::resolve_unqualified(&input.function_name, cx)?;
        let mut function = address.function(tx)?;
        check_unenforced(&unenforced!(input))?;
        if let Some(role) = &input.role {
            check_role(role, address.account.as_str())?;
        }
        if let Some(runtime) = &input.runtime {
            check_runtime(runtime, cx)?;
        }
        function.status.check_settled(&address.arn())?;
        let mut next = function.next();
        if let Some(layers) = &input.layers {
            next.set_layers(layer::attach(layers, &address, tx)?);
            next.check_size()?;
        }
        let present = next.configuration;
        next.configuration = Configuration {
            role: input.role.unwrap_or(present.role),
            handler: input.handler.unwrap_or(present.handler),
            description: input.description.unwrap_or(present.description),
            timeout: input.timeout.unwrap_or(present.timeout),
            memory_size: input.memory_size.unwrap_or(present.memory_size),
            environment: input.environment.or(present.environment),
            runtime: input.runtime.unwrap_or(present.runtime),
            ephemeral_storage: input.ephemeral_storage.unwrap_or(present.ephemeral_storage),
            ..present
        };
        next.configuration.check(&*cx.host)?;
        if let Some(logging) = input.logging_config {
            next.configuration.set_logging(logging)?;
        }
        function.check_revision(input.revision_id.as_deref())?;
        let scope = address.scope();
        function.revise(next, &scope, cx, tx)?;
        tx.put(&scope, "", &address.function, &function)?;
        Ok(Answer::new(function.configuration, &function.status))
    }

    fn trail_parameters(params: &Value) -> Value {
        without_secrets(params)
    }

    fn trail_response(output: &Value) -> Value {
        without_secrets(output)
    }
}
