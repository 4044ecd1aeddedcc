//! Which address is answered with what.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderName, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use futures::{Stream, StreamExt, stream};
use maud::Markup;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::findings::Findings;
use crate::guard::guard;
use crate::html;
use crate::html::compare::Side;
use crate::index::{Index, Run, Runs};
use crate::near;
use crate::query::Query;
use crate::root::Root;
use crate::search::Search;
use crate::tail::{Follower, Second};
use crate::{metrics, trend};

/// How often somebody who watches a run is told of it.
const TICK: Duration = Duration::from_millis(500);
/// As many may watch at a time.
const WATCHERS: usize = 32;
/// Bytes that are given on at a time.
const CHUNK: usize = 64 << 10;
/// What pages that lie among the files may do: their own scripts and styles, and no request. They have no
/// origin, so that a page which somebody else made reads nothing of this server.
const PAGE_POLICY: &str = "sandbox allow-scripts allow-downloads allow-top-navigation-by-user-activation; \
     default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

/// What is served.
pub(crate) struct Board {
    root: Root,
    /// The runs.
    pub index: Index,
    findings: Findings,
    watchers: Arc<Semaphore>,
}

impl Board {
    /// Of a folder.
    pub(crate) fn new(root: Root) -> Self {
        let index = Index::new(root.clone());
        let watchers = Arc::new(Semaphore::new(WATCHERS));
        Self { root, index, findings: Findings::default(), watchers }
    }

    /// A run by its path.
    fn run(&self, runs: &Runs, path: &str) -> Result<Arc<Run>, Refusal> {
        let none = || Refusal::none(format!("there is no run {path}"));
        // `latest` is a link to a run's folder.
        let found = runs.get(path).cloned().or_else(|| {
            let real = self.root.inside(path)?;
            runs.get(real.strip_prefix(self.root.dir()).ok()?.to_str()?).cloned()
        });
        found.ok_or_else(none)
    }

    fn history(&self, run: &Run) -> Result<File, Refusal> {
        let path = format!("{}/history.jsonl", run.path);
        let none = || Refusal::none(format!("{} has no history", run.path));
        self.root.open(&path).map(|(file, _)| file).ok_or_else(none)
    }
}

/// Why something is not answered.
struct Refusal(StatusCode, String);

impl Refusal {
    fn none(why: String) -> Self {
        Self(StatusCode::NOT_FOUND, why)
    }

    fn wrong(why: String) -> Self {
        Self(StatusCode::BAD_REQUEST, why)
    }

    fn failed(why: impl std::fmt::Display) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, why.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let title = self.0.canonical_reason().unwrap_or("Refused");
        (self.0, page(&html::refusal(title, &self.1))).into_response()
    }
}

/// What handlers answer.
type Answer = Result<Response, Refusal>;
/// What handlers are given.
type Of = State<Arc<Board>>;

/// All addresses; `port` is where it serves.
pub(crate) fn router(board: Arc<Board>, port: u16) -> Router {
    Router::new()
        .route("/", get(list))
        .route("/findings", get(findings))
        .route("/trend", get(trends))
        .route("/compare/{*run}", get(compare))
        .route("/history/{*run}", get(history))
        .route("/live/{*run}", get(live))
        .route("/events/{*run}", get(events))
        .route("/run/{*path}", get(file))
        .route("/metrics", get(all_metrics))
        .route("/style.css", get(async || text("text/css; charset=utf-8", html::style())))
        .route("/live.js", get(async || text("text/javascript; charset=utf-8", html::LIVE)))
        .fallback(async || Refusal::none("there is no such page".to_owned()))
        .with_state(board)
        .layer(from_fn_with_state(port, guard))
}

fn text(kind: &'static str, text: impl Into<Body>) -> Response {
    ([(CONTENT_TYPE, kind)], text.into()).into_response()
}

fn page(page: &Markup) -> Response {
    text("text/html; charset=utf-8", page.0.clone())
}

/// Does what reads files, where that holds nobody up.
async fn reading<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(Refusal::failed)?
}

async fn list(State(board): Of, RawQuery(query): RawQuery) -> Answer {
    let address = query.unwrap_or_default();
    let query = Query::parse(&address).map_err(Refusal::wrong)?;
    let as_json =
        form_urlencoded::parse(address.as_bytes()).any(|(name, is)| name == "as" && is == "json");
    reading(move || {
        let runs = board.index.runs();
        let found = query.of(&runs);
        if as_json {
            let found: Vec<&Run> = found.iter().map(AsRef::as_ref).collect();
            let told = json!({ "schema": 1, "command": "serve", "verdict": null, "runs": found });
            return Ok(text("application/json", told.to_string()));
        }
        Ok(page(&html::list::page(&query, &runs, &found)))
    })
    .await
}

async fn findings(State(board): Of) -> Answer {
    reading(move || {
        let gathered = board.findings.gather(&board.root, &board.index.runs());
        let dir = board.root.named().display().to_string();
        Ok(page(&html::findings::page(&gathered, dir.trim_end_matches('/'))))
    })
    .await
}

async fn trends(State(board): Of) -> Answer {
    reading(move || Ok(page(&html::trend::page(&trend::series(&board.index.runs()))))).await
}

async fn all_metrics(State(board): Of) -> Answer {
    reading(move || Ok(text(metrics::TYPE, metrics::text(&board.index.runs())))).await
}

async fn compare(State(board): Of, Path(path): Path<String>, RawQuery(query): RawQuery) -> Answer {
    reading(move || {
        let runs = board.index.runs();
        let side = |run: Arc<Run>| {
            let tail = board.history(&run).map_err(|Refusal(_, why)| why);
            let tail =
                tail.and_then(|file| Follower::new(file).all().map_err(|error| error.to_string()));
            Side { run, tail }
        };
        let one = board.run(&runs, &path)?;
        let query = query.unwrap_or_default();
        let mut named = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "with");
        let named = named.next().map(|(_, path)| board.run(&runs, &path)).transpose()?;
        let is_chosen = named.is_none();
        let other = named.or_else(|| near::passing(&runs, &one)).map(side);
        Ok(page(&html::compare::page(&side(one), other.as_ref(), is_chosen)))
    })
    .await
}

async fn history(State(board): Of, Path(path): Path<String>, RawQuery(query): RawQuery) -> Answer {
    let address = query.unwrap_or_default();
    let search = Search::parse(&address).map_err(Refusal::wrong)?;
    let as_lines =
        form_urlencoded::parse(address.as_bytes()).any(|(name, is)| name == "as" && is == "jsonl");
    reading(move || {
        let run = board.run(&board.index.runs(), &path)?;
        let file = board.history(&run)?;
        if as_lines {
            return Ok(text("text/plain; charset=utf-8", Body::from_stream(lines(search, file))));
        }
        let found = search.page(file).map_err(Refusal::failed)?;
        Ok(page(&html::history::page(&run.path, &search, &found)))
    })
    .await
}

/// The lines that are asked for, no faster than they are taken.
fn lines(search: Search, file: File) -> impl Stream<Item = io::Result<Bytes>> {
    let (give, take) = tokio::sync::mpsc::channel(4);
    tokio::task::spawn_blocking(move || {
        let mut chunk = Vec::new();
        let read = search.each(file, &mut |line| {
            chunk.extend_from_slice(line);
            // Who has gone takes no more.
            chunk.len() < CHUNK || give.blocking_send(Ok(std::mem::take(&mut chunk).into())).is_ok()
        });
        let last = read.map(|()| Bytes::from(chunk));
        let _ = give.blocking_send(last);
    });
    stream::unfold(take, async |mut take| Some((take.recv().await?, take)))
}

async fn live(State(board): Of, Path(path): Path<String>) -> Answer {
    reading(move || {
        let run = board.run(&board.index.runs(), &path)?;
        Ok(page(&html::live::page(&run.path)))
    })
    .await
}

/// What happens in a run, every [`TICK`] until it has a verdict.
async fn events(State(board): Of, Path(path): Path<String>) -> Answer {
    let too_many = |_| {
        let why = format!("{WATCHERS} pages watch runs already: close one");
        Refusal(StatusCode::SERVICE_UNAVAILABLE, why)
    };
    let permit = board.watchers.clone().try_acquire_owned().map_err(too_many)?;
    let of = board.clone();
    let (run, file) = reading(move || {
        let run = of.run(&of.index.runs(), &path)?;
        let file = of.history(&run)?;
        Ok((run, file))
    })
    .await?;
    let watch = Watch { board, run, follower: Follower::new(file), told: 0, is_over: false };
    let ticks = stream::unfold((watch, permit), async |(watch, permit)| {
        let (watch, event) = watch.next().await?;
        Some((event, (watch, permit)))
    });
    Ok(Sse::new(ticks.map(Ok::<_, std::convert::Infallible>))
        .keep_alive(KeepAlive::default())
        .into_response())
}

/// Somebody who watches a run.
struct Watch {
    board: Arc<Board>,
    run: Arc<Run>,
    follower: Follower,
    /// As many seconds were told.
    told: usize,
    is_over: bool,
}

impl Watch {
    /// Reads what was written since; none once it is over.
    async fn next(mut self) -> Option<(Self, Event)> {
        if self.is_over {
            return None;
        }
        if self.told > 0 || self.follower.tail.lines > 0 {
            tokio::time::sleep(TICK).await;
        }
        tokio::task::spawn_blocking(move || {
            let told = self.read();
            let event = Event::default().event(if self.is_over { "over" } else { "more" });
            (self, event.data(told.to_string()))
        })
        .await
        .ok()
    }

    fn read(&mut self) -> Value {
        // Asked before it is read: what was written before the verdict is told before the end.
        let verdict = format!("{}/verdict.json", self.run.path);
        let has_verdict = self.board.root.inside(&verdict).is_some();
        let read = loop {
            match self.follower.more() {
                Ok(true) => {}
                Ok(false) => break None,
                Err(error) => break Some(error.to_string()),
            }
        };
        self.is_over = has_verdict || read.is_some();
        let tail = &self.follower.tail;
        let over: &[Second] = tail.over();
        let new = &over[self.told.min(over.len())..];
        let told = json!({
            "from": self.told, "seconds": new, "ops": tail.ops(), "at": tail.last as f64 / 1e9,
            "in_force": tail.in_force(), "error": read,
        });
        self.told = over.len();
        told
    }
}

async fn file(State(board): Of, Path(path): Path<String>) -> Answer {
    reading(move || {
        let none = || Refusal::none(format!("there is no {path}"));
        let found = board.root.inside(&path).ok_or_else(none)?;
        if found.is_dir() {
            return folder(&board, &path);
        }
        let (file, found) = board.root.open(&path).ok_or_else(none)?;
        Ok(give(file, &found))
    })
    .await
}

/// A run's folder is its page.
fn folder(board: &Board, path: &str) -> Answer {
    let run = board.run(&board.index.runs(), path)?;
    let page = format!("{}/report.html", run.path);
    if board.root.inside(&page).is_none() {
        let mend = format!("{} has no page: `dyno analyze` on its folder makes one", run.path);
        return Err(Refusal::none(mend));
    }
    Ok(Redirect::to(&html::address("run", &page)).into_response())
}

/// A file as it is. Only pages are shown as such, and only such as can reach nothing.
fn give(file: File, found: &FilePath) -> Response {
    let kind = match found.extension().and_then(|ending| ending.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("json") => "application/json",
        Some("jsonl" | "log" | "md" | "toml" | "txt" | "edn") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    };
    let policy: [(HeaderName, &str); 1] = [(CONTENT_SECURITY_POLICY, PAGE_POLICY)];
    (policy, text(kind, Body::from_stream(chunks(file)))).into_response()
}

/// A file, no faster than it is taken.
fn chunks(file: File) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(file, async |mut file| {
        let read = tokio::task::spawn_blocking(move || {
            let mut chunk = vec![0; CHUNK];
            let count = file.read(&mut chunk)?;
            chunk.truncate(count);
            Ok::<_, io::Error>((chunk, file))
        });
        let (chunk, file) = read.await.map_err(io::Error::other)??;
        Ok((!chunk.is_empty()).then_some((Bytes::from(chunk), file)))
    })
}

#[cfg(test)]
mod tests;
