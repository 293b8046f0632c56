//! `portcullis demo`: the walk-through of "Centralizing security with Amazon API Gateway and cross-account AWS Lambda
//! authorizers" (AWS Compute Blog), against a server of its own.

mod aws;
mod runtime;
mod show;
mod walk;
mod words;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use control::accounts::CreatedAccount;
use serde_json::Value;

use crate::{
    account,
    admin::{self, Ask, Reply},
    cli::Failure,
    client::Client,
    isolation,
    server::Server,
    settings::{self, Given, MemoryLimit, Settings},
    stops::Stops,
};

use show::{Screen, Who};
use walk::{Found, Walk};

const API: (&str, &str) = ("111111111111", "api");
const SECURITY: (&str, &str) = ("222222222222", "security");

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// End after the last step instead of serving on
    #[arg(long)]
    once: bool,
    /// Address and port to serve on; port 0 takes a free one [default: 127.0.0.1:4566]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Keep the data in this new or empty directory instead of a throw-away one
    #[arg(long, value_name = "DIR")]
    keep_data: Option<PathBuf>,
    /// What holds functions to their memory, as for `start` [default: required]
    #[arg(long, value_name = "HOW")]
    memory_limit: Option<MemoryLimit>,
}

/// Walks through the post, then serves until Ctrl-C.
///
/// # Errors
/// When a step gives something else than it must: what was expected and what came. Wrong usage for wrong settings.
pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    let data = Data::make(args.keep_data.as_deref())?;
    let given = Given {
        listen: args.listen.clone(),
        data_dir: Some(data.path.clone()),
        memory_limit: args.memory_limit,
        ..Given::default()
    };
    let settings = settings::resolve(given, None, &settings::environment).map_err(Failure::usage)?;
    // The demo shows that secrets are checked, whatever variables say, and is over before a trail delivers.
    let settings = Settings { dev_credentials: false, ..settings };
    if settings.isolation == settings::Isolation::None {
        return Err(Failure::usage(anyhow!(
            "the demo has two accounts, and --isolation none allows one; unset PORTCULLIS_ISOLATION"
        )));
    }
    let begun = isolation::begin(&settings)?;
    let chosen = runtime::choose(settings.node.clone(), settings.python.clone())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the demo's client cannot be started")?;
    let mut stops = {
        let _entered = runtime.enter();
        Stops::take().context("signals cannot be waited for")?
    };
    let screen = Screen::of_process();
    let server = Server::start(&settings, begun)?;
    if let Some(reason) = server.functions().reason {
        let reason = format!("the demo runs a Lambda function, and functions do not run here: {reason}");
        runtime.block_on(server.stop());
        return Err(anyhow!(reason).into());
    }
    let address = reachable(&server)?;
    let done = prerequisites(screen, &server, &settings.data_dir).and_then(|(api, security)| {
        let walk = Walk {
            screen,
            client: Client::new(address),
            port: address.port(),
            host: address.to_string(),
            api,
            security,
            chosen,
        };
        runtime.block_on(async {
            let found = tokio::select! {
                found = walk.run() => found?,
                () = stops.next() => bail!("stopped before the last step"),
            };
            summary(&walk, &found)?;
            if args.once {
                return screen.plain("\nEvery step gave what it must.");
            }
            go_on(&walk, &found, args.keep_data.as_deref(), &server.functions().summary())?;
            stops.next().await;
            screen.plain("")
        })
    });
    runtime.block_on(server.stop());
    runtime.shutdown_background();
    Ok(done?)
}

/// The directory of the data, removed at the end if it is a throw-away one.
struct Data {
    path: PathBuf,
    _throw_away: Option<tempfile::TempDir>,
}

impl Data {
    fn make(keep: Option<&Path>) -> anyhow::Result<Self> {
        let Some(keep) = keep else {
            let dir = tempfile::Builder::new().prefix("portcullis-demo-").tempdir();
            let dir = dir.context("a throw-away data directory cannot be made; name one with --keep-data")?;
            return Ok(Self { path: dir.path().to_owned(), _throw_away: Some(dir) });
        };
        let is_empty = match fs::read_dir(keep) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        if !is_empty {
            let dir = keep.display();
            bail!(
                "the demo begins from nothing, but {dir} is not an empty directory. Choose another --keep-data, or \
                 serve what is there with `portcullis start --data-dir {dir}`"
            );
        }
        Ok(Self { path: keep.to_owned(), _throw_away: None })
    }
}

/// The address for this machine's clients.
fn reachable(server: &Server) -> anyhow::Result<SocketAddr> {
    let url = server.url();
    url.trim_start_matches("http://").parse().with_context(|| format!("{url} cannot be reached"))
}

/// Creates both accounts.
fn prerequisites(screen: Screen, server: &Server, data_dir: &Path) -> anyhow::Result<(CreatedAccount, CreatedAccount)> {
    screen.plain(&format!(
        "{}\n{}",
        screen.painted("1", "Centralizing security with API Gateway and cross-account Lambda authorizers"),
        screen.painted("2", &format!("The AWS Compute Blog's walk-through, against {} in this process", server.url())),
    ))?;
    screen.heading("Prerequisites: two accounts")?;
    let create = |(id, name): (&str, &str)| -> anyhow::Result<CreatedAccount> {
        screen.command(Who::Anyone, &[format!("portcullis account create --id {id} --name {name} --output json")])?;
        match admin::ask(data_dir, &Ask::CreateAccount { id: id.to_owned(), name: name.to_owned() })? {
            Reply::Created(account) => {
                account::keep(data_dir, &account);
                screen.answer(&serde_json::to_string_pretty(&account)?)?;
                Ok(account)
            }
            Reply::Refused(message) => Err(anyhow!("the account {id} must be created, but: {message}")),
            _ => Err(anyhow!("the account {id} must be created, but the server answers something else")),
        }
    };
    let accounts = (create(API)?, create(SECURITY)?);
    screen.met("Every call below is signed with these keys, and every signature is verified.")?;
    Ok(accounts)
}

/// The answers of the API and the record, once more in one place.
fn summary(walk: &Walk, found: &Found) -> anyhow::Result<()> {
    let screen = walk.screen;
    screen.heading("Summary")?;
    let line = |when: &str, token: Option<&str>, status: u16, rest: &str| {
        let colour = if status == 200 { "1;32" } else { "1;31" };
        let token = token.unwrap_or("(none)");
        let status = screen.painted(colour, &status.to_string());
        format!("  {when:<24}{token:<8}{status}  {rest}")
    };
    screen.plain(&format!("\n{}", line("before the permission", Some("allow"), 500, walk::NULL_MESSAGE)))?;
    for (index, (token, status, body)) in found.calls.iter().enumerate() {
        let when = if index == 0 { "with the permission" } else { "" };
        let cached = if index > 0 && *status == 200 { "  from the cache" } else { "" };
        screen.plain(&line(when, *token, *status, &format!("{body}{cached}")))?;
    }
    let of = |pointer: &str| found.record.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    screen.plain(&format!(
        "\n  CloudTrail of {} ({}): {} {} by {}\n    for    {}\n    called {}",
        walk.security.account_id,
        walk.security.name,
        of("/eventTime"),
        of("/eventName"),
        of("/userIdentity/invokedBy"),
        of("/requestParameters/sourceArn"),
        of("/requestParameters/functionName"),
    ))
}

/// What to type in another terminal.
fn go_on(walk: &Walk, found: &Found, keep: Option<&Path>, isolation: &str) -> anyhow::Result<()> {
    let screen = walk.screen;
    screen.heading("Go on")?;
    screen.plain("\nIn another terminal, as one of the accounts:\n")?;
    for account in [&walk.api, &walk.security] {
        screen.plain(&format!(
            "  # {name} ({id})\n  export AWS_ENDPOINT_URL=http://{host} AWS_DEFAULT_REGION={region} AWS_SESSION_TOKEN=\n  export \
             AWS_ACCESS_KEY_ID={key} AWS_SECRET_ACCESS_KEY={secret}\n",
            name = account.name,
            id = account.account_id,
            host = walk.host,
            region = aws::REGION,
            key = account.access_key_id,
            secret = account.secret_access_key,
        ))?;
    }
    let url = &found.url;
    screen.plain(&format!(
        "As a client of the API:\n\n  curl -i {url} --header \"Authorizer: allow\"\n  curl -i {url} --header \
         \"Authorizer: deny\"\n  curl -i {url}\n\nTo see it refused again, withdraw the permission as the Security \
         account and have the API account forget\nthe cached answers:\n\n  # {security}\n  aws lambda remove-permission --function-name \
         {function} --statement-id {statement}\n\n  # {owner}\n  aws apigateway flush-stage-authorizers-cache --rest-api-id {api} \
         --stage-name {stage}\n",
        security = walk.security.name,
        owner = walk.api.name,
        function = walk::FUNCTION_NAME,
        statement = walk::STATEMENT_ID,
        api = found.api_id,
        stage = walk::STAGE,
    ))?;
    let data = match keep {
        Some(dir) => format!("The data and both keys stay in {}.", dir.display()),
        None => "The data is removed at the end.".to_owned(),
    };
    screen.plain(
        &screen
            .painted("2", &format!("Functions run {isolation}. {data}\nServing on http://{}; Ctrl-C ends.", walk.host)),
    )
}
