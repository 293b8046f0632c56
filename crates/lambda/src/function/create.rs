//! CreateFunction.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use service::{Cx, Need, Operation, Result, Tx, Upload};

use super::{Code, Function, Next};
use crate::{
    check::{Checks, is_word},
    configuration::{
        Answer, Configuration, EPHEMERAL_STORAGE_MB_DEFAULT, Environment, EphemeralStorage, MEMORY_MB_DEFAULT,
        TIMEOUT_S_DEFAULT, check_role, check_runtime, check_unenforced, pass_role, without_secrets,
    },
    error::{access_denied, conflict, invalid},
    layer, life,
    logging::LoggingConfig,
    name::{Address, LATEST, Sharing},
    tags, version,
};

/// Creates a function from a zip.
pub struct CreateFunction;

/// Input of [`CreateFunction`].
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateFunctionInput {
    function_name: String,
    runtime: Option<String>,
    role: String,
    handler: Option<String>,
    #[serde(default)]
    code: Code,
    description: Option<String>,
    timeout: Option<u32>,
    memory_size: Option<u32>,
    publish: Option<bool>,
    package_type: Option<Value>,
    environment: Option<Environment>,
    #[serde(default)]
    tags: Option<BTreeMap<String, String>>,
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
    architectures: Option<Value>,
    snap_start: Option<Value>,
}

impl Operation for CreateFunction {
    const NAME: &'static str = "CreateFunction";
    type Input = CreateFunctionInput;
    type Output = Answer;

    // Code signing, tenant isolation, managed instances, durable functions, custom runtimes and accelerators: none of
    // them exists here, and all of them would change how a function runs.
    const REFUSED: &'static [&'static str] = &[
        "PublishTo",
        "CodeSigningConfigArn",
        "TenancyConfig",
        "CapacityProviderConfig",
        "DurableConfig",
        "RuntimeConfig",
        "AcceleratorConfig",
    ];
    const UPLOAD: Option<Upload> = Some(Upload { path: &["Code", "ZipFile"] });

    fn needs(input: &Self::Input, default: Need, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Vec<Need>> {
        let address = Address::resolve_unqualified(&input.function_name, cx)?;
        let tags = input.tags.clone().unwrap_or_default();
        let mut need = address.need(default, Sharing::Owner, tx)?;
        need.context.extend(tags::request_context(&tags));
        let mut needs = vec![need.clone()];
        if !tags.is_empty() {
            needs.push(Need { action: "lambda:TagResource".to_owned(), ..need });
        }
        needs.push(pass_role(&input.role, cx.account()));
        needs.extend(layer::attach_needs(input.layers.as_deref().unwrap_or_default(), tx)?);
        Ok(needs)
    }

    fn apply(input: Self::Input, cx: &mut Cx<'_>, tx: &mut Tx<'_>) -> Result<Self::Output> {
        let address = Address::resolve_unqualified(&input.function_name, cx)?;
        // The permission check refuses this already; nothing may ever be created in somebody else's account.
        if address.account != cx.caller.account {
            return Err(access_denied("A function can only be created in the account of the caller."));
        }
        let mut checks = Checks::default();
        checks.length("functionName", &address.function, 1, 64);
        checks.pattern(is_word(&address.function), "functionName", &address.function, "[a-zA-Z0-9-_]+");
        checks.done()?;
        check_role(&input.role, address.account.as_str())?;
        let own = [("PackageType", &input.package_type), ("Architectures", &input.architectures)];
        check_unenforced(&own)?;
        check_unenforced(&unenforced!(input))?;
        let (Some(runtime), Some(handler)) = (input.runtime, input.handler) else {
            return Err(invalid(
                "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
            ));
        };
        check_runtime(&runtime, cx)?;
        let tags = input.tags.unwrap_or_default();
        tags::check(&tags)?;
        let scope = address.scope();
        if tx.get::<Function>(&scope, "", &address.function)?.is_some() {
            return Err(conflict(format!("Function already exist: {}", address.function)));
        }
        let uploaded = input.code.uploaded()?;
        let layers = layer::attach(input.layers.as_deref().unwrap_or_default(), &address, tx)?;
        let mut configuration = Configuration {
            function_name: address.function.clone(),
            function_arn: address.arn(),
            runtime,
            role: input.role,
            handler,
            code_size: 0,
            description: input.description.unwrap_or_default(),
            timeout: input.timeout.unwrap_or(TIMEOUT_S_DEFAULT),
            memory_size: input.memory_size.unwrap_or(MEMORY_MB_DEFAULT),
            last_modified: cx.now.lambda(),
            code_sha256: String::new(),
            version: LATEST.to_owned(),
            environment: input.environment,
            revision_id: cx.uuid(),
            ephemeral_storage: input
                .ephemeral_storage
                .unwrap_or(EphemeralStorage { size: EPHEMERAL_STORAGE_MB_DEFAULT }),
            layers: Vec::new(),
            logging: None,
        };
        configuration.check(&*cx.host)?;
        if let Some(logging) = input.logging_config {
            configuration.set_logging(logging)?;
        }
        let mut next = Next { configuration, code_blob: String::new(), code_unpacked: 0, layer_contents: Vec::new() };
        next.set_code(uploaded);
        next.set_layers(layers);
        next.check_size()?;
        let mut function = Function::new(next, tags, cx);
        let shown = if input.publish == Some(true) {
            version::publish(&address, &mut function, None, cx, tx)?
        } else {
            function.configuration.clone()
        };
        tx.put(&scope, "", &address.function, &function)?;
        life::begin(&scope, &address.function, tx)?;
        Ok(Answer::new(shown, &function.status))
    }

    fn trail_parameters(params: &Value) -> Value {
        without_secrets(params)
    }

    fn trail_response(output: &Value) -> Value {
        without_secrets(output)
    }
}
