//! The functions of the API (hub.md §7.3), as a table.

use nix::sys::statvfs::statvfs;
use serde_json::{Map, Value, json};

use super::{Api, Class, Request};
use crate::{
    broker::peer::now_ms,
    bus::{Error, Result},
    config::{DEFAULT_ACCOUNT_ID, DEFAULT_PROJECT_ID},
    hub::{
        query,
        schema::{Row, Table},
    },
};

use Answer::*;
use Class::*;

/// A function.
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) class: Class,
    answer: Answer,
}

/// How a function answers.
enum Answer {
    /// There is nothing to do and nothing to say.
    Null,
    /// There is nothing of it here.
    Empty,
    /// Nothing costs anything.
    Zero,
    /// It is known at once. `None`: this is not implemented.
    Now(fn(&Api, &Request) -> Result<Option<Value>>),
    /// A user query.
    UserQuery,
    /// Names of accounts.
    Names,
    /// Room on the disk.
    DiskQuota,
}

const fn function(name: &'static str, class: Class, answer: Answer) -> Function {
    Function { name, class, answer }
}

/// Every function there is.
pub(super) static FUNCTIONS: &[Function] = &[
    function("db.userQuery", AuthFirst, UserQuery),
    function("db.touch", AuthFirst, Null),
    function("system.getNames", SignedIn, Names),
    function("system.ping", NoAuth, Now(|_, _| Ok(Some(json!({"now": now_ms()}))))),
    function("system.getCustomize", NoAuth, Now(customize)),
    function("system.logClientError", AuthFirst, Now(report)),
    function("system.webappError", AuthFirst, Now(report)),
    function("system.userTracking", AuthFirst, Null),
    function("system.userSearch", AuthFirst, Empty),
    function("system.listNews", AuthFirst, Empty),
    function("system.manageApiKeys", AuthFirst, Now(api_keys)),
    function("system.upsertBrowserSession", Account, Now(|api, request| api.sessions.upsert(request))),
    function("system.listBrowserSessions", Account, Now(|api, request| api.sessions.list(request))),
    function("system.removeBrowserSession", Account, Now(|api, request| api.sessions.remove(request))),
    function("projects.getSshKeys", Project, Empty),
    function("projects.getDiskQuota", Account, DiskQuota),
    function("projects.updateAuthorizedKeysOnHost", Account, Null),
    function("projects.start", Account, Null),
    function("projects.stop", Account, Null),
    function("projects.getBackups", Account, Empty),
    function("purchases.getBalance", AuthFirst, Zero),
    function("purchases.getMinBalance", AuthFirst, Zero),
];

impl Function {
    /// Answers a call. `None`: that is not implemented.
    pub(super) async fn run(&self, api: &Api, request: Request) -> Result<Option<Value>> {
        Ok(Some(match self.answer {
            Null => Value::Null,
            Empty => json!([]),
            Zero => json!(0),
            Now(answer) => return answer(api, &request),
            UserQuery => user_query(api, request).await?,
            Names => names(api, &request).await?,
            DiskQuota => disk_quota(api).await?,
        }))
    }
}

async fn user_query(api: &Api, mut request: Request) -> Result<Value> {
    let actor = api.actor(&request.caller)?;
    let mut take = |name: &str| Some(request.args.first_mut()?.get_mut(name)?.take());
    let (query, options) = (take("query").unwrap_or_default(), take("options"));
    let wants_changes = take("changes").is_some_and(|changes| !matches!(changes, Value::Null | Value::Bool(false)));
    if wants_changes && query.is_array() {
        return Err(query::Error::FeedOfMany.into());
    }
    let query = query::Request::read(query, options, &actor)?;
    Ok(api.database.query(query, actor).await?)
}

/// Names of this server's account and project (§7.4). Others are absent.
async fn names(api: &Api, request: &Request) -> Result<Value> {
    let asked = request.args.first().and_then(Value::as_array);
    let asked = asked.ok_or_else(|| Error::failure("a list of account ids is expected", 400))?;
    let identity = &api.identity;
    let mut names = Map::new();
    for id in asked.iter().filter_map(Value::as_str) {
        if names.contains_key(id) {
            continue;
        }
        if [identity.account_id.as_str(), DEFAULT_ACCOUNT_ID].contains(&id) {
            names.insert(id.into(), account_name(api).await?);
        } else if [identity.project_id.as_str(), DEFAULT_PROJECT_ID].contains(&id) {
            names.insert(id.into(), json!({"first_name": "CoCalc", "last_name": "Project"}));
        }
    }
    Ok(names.into())
}

async fn account_name(api: &Api) -> Result<Value> {
    let mut name = json!({"first_name": "CoCalc", "last_name": "User"});
    let Some(accounts) = Table::find("accounts") else { return Ok(name) };
    let key = Row::from_iter([("account_id".to_owned(), api.identity.account_id.as_str().into())]);
    let row = api.database.row(accounts, key).await?.unwrap_or_default();
    let text = |field: &str| row.get(field).and_then(Value::as_str).unwrap_or_default();
    if !text("first_name").is_empty() || !text("last_name").is_empty() {
        name = json!({"first_name": text("first_name"), "last_name": text("last_name")});
    }
    if let Some(profile) = row.get("profile").filter(|profile| !profile.is_null()) {
        name["profile"] = profile.clone();
    }
    Ok(name)
}

async fn disk_quota(api: &Api) -> Result<Value> {
    let home = api.home.clone();
    // Looking at a file system may block; the API's own bound on calls bounds the threads.
    let looked = tokio::task::spawn_blocking(move || statvfs(&home)).await;
    let Ok(Ok(room)) = looked else { return Err(Error::failure("the file system can't be looked at", 500)) };
    let bytes = |blocks: u64| blocks.saturating_mul(room.fragment_size());
    Ok(json!({"used": bytes(room.blocks().saturating_sub(room.blocks_free())), "size": bytes(room.blocks())}))
}

fn report(api: &Api, request: &Request) -> Result<Option<Value>> {
    api.reports.note(request);
    Ok(Some(Value::Null))
}

fn api_keys(_: &Api, request: &Request) -> Result<Option<Value>> {
    Ok((request.text("action") == Some("get")).then(|| json!([])))
}

/// What a project's server may want to know (§14.5).
fn customize(api: &Api, request: &Request) -> Result<Option<Value>> {
    let asked = |name: &str| match request.args.first() {
        Some(Value::Array(names)) => names.iter().any(|asked| asked == name),
        _ => true,
    };
    let mut document = Map::new();
    if asked("version") {
        let least = api.database.settings().get().text("version_min_project");
        let least: u64 = least.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        document.insert("version".into(), json!({"min_project": least}));
    }
    Ok(Some(document.into()))
}
