//! The connection to the broker: held, watched and made again, on a task of its own.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use common::messages::Message;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::CONTENT_TYPE;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Message as Frame};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::backoff::Backoff;
use crate::session::{Action, Session, Stage};
use crate::settings::Settings;
use crate::wire::{Request, from_json, from_msgpack};

const CONNECT: Duration = Duration::from_secs(10);
/// From the connection to the first data: greeting, authentication, subscription.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// A connection that lived so long was a good one: the next wait is short again.
const PROVEN: Duration = Duration::from_secs(10);
const LARGEST_FRAME: usize = 16 << 20;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What the stream tells the service.
#[derive(Debug)]
pub(crate) enum Event {
    Connecting,
    Live,
    Lost { reason: String, retry_in: Duration },
    Messages(Vec<Message>),
    Dropped(String),
    GiveUp(String),
}

/// How a connection ended.
enum End {
    Lost(String),
    GiveUp(String),
    /// Nobody listens any more.
    Unheard,
}

impl From<String> for End {
    fn from(reason: String) -> Self {
        Self::Lost(reason)
    }
}

/// Connect again and again until the broker makes it pointless or nobody listens.
pub(crate) async fn run(
    settings: Settings,
    symbols: watch::Receiver<Vec<String>>,
    events: mpsc::Sender<Event>,
) {
    let mut stream = Stream {
        settings,
        symbols,
        events,
        live_since: None,
    };
    let mut backoff = Backoff::default();
    loop {
        if stream.tell(Event::Connecting).await.is_err() {
            return;
        }
        let end = match stream.serve().await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        let proven = stream
            .live_since
            .take()
            .is_some_and(|since| since.elapsed() >= PROVEN);
        let event = match end {
            End::Unheard => return,
            End::GiveUp(reason) => Event::GiveUp(reason),
            End::Lost(reason) => {
                if proven {
                    backoff.reset();
                }
                let retry_in = backoff.next(chance());
                tracing::warn!(%reason, ?retry_in, attempt = backoff.attempts(), "market data lost");
                Event::Lost { reason, retry_in }
            }
        };
        let wait = match &event {
            Event::Lost { retry_in, .. } => Some(*retry_in),
            _ => None,
        };
        if stream.tell(event).await.is_err() {
            return;
        }
        let Some(wait) = wait else { return };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stream.events.closed() => return,
        }
    }
}

/// A number in 0..1 that differs from process to process; the jitter needs no better.
fn chance() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1u64 << 53) as f64
}

struct Stream {
    settings: Settings,
    symbols: watch::Receiver<Vec<String>>,
    events: mpsc::Sender<Event>,
    live_since: Option<Instant>,
}

enum Never {}

impl Stream {
    async fn serve(&mut self) -> Result<Never, End> {
        let mut socket = self.connect().await?;
        let feed = self
            .settings
            .stream_url
            .rsplit('/')
            .next()
            .unwrap_or_default();
        let mut session = Session::new(feed);
        let idle = Duration::from_secs_f64(self.settings.stale_after_s);
        let handshake = Instant::now() + HANDSHAKE;
        let mut pinged = false;
        loop {
            let live = session.stage() == Stage::Live;
            let now = Instant::now();
            if !live && now >= handshake {
                return Err(End::Lost(format!(
                    "nothing but {:?} within 15 s",
                    session.stage()
                )));
            }
            let deadline = if live {
                now + idle
            } else {
                (now + idle).min(handshake)
            };
            let frame = tokio::select! {
                frame = timeout_at(deadline, socket.next()) => frame,
                changed = self.symbols.changed(), if live => {
                    changed.map_err(|_| End::Unheard)?;
                    self.resubscribe(&mut socket).await?;
                    continue;
                }
            };
            match frame {
                Ok(Some(Ok(frame))) => {
                    pinged = false;
                    self.on_frame(frame, &mut session, &mut socket).await?;
                    if session.stage() == Stage::Live && self.live_since.is_none() {
                        self.live_since = Some(Instant::now());
                        self.tell(Event::Live).await?;
                    }
                }
                Ok(Some(Err(error))) => return Err(End::Lost(error.to_string())),
                Ok(None) => return Err(End::Lost("the broker closed the connection".to_owned())),
                Err(_) if pinged => {
                    let silence = 2.0 * self.settings.stale_after_s;
                    return Err(End::Lost(format!("silent for {silence} s, pings included")));
                }
                Err(_) => {
                    pinged = true;
                    send(&mut socket, Frame::Ping(Bytes::new())).await?;
                }
            }
        }
    }

    async fn connect(&self) -> Result<Socket, End> {
        let url = &self.settings.stream_url;
        let mut request = url
            .into_client_request()
            .map_err(|error| error.to_string())?;
        let msgpack = HeaderValue::from_static("application/msgpack");
        request.headers_mut().insert(CONTENT_TYPE, msgpack);
        let config = WebSocketConfig::default()
            .max_message_size(Some(LARGEST_FRAME))
            .max_frame_size(Some(LARGEST_FRAME));
        match timeout(
            CONNECT,
            connect_async_with_config(request, Some(config), true),
        )
        .await
        {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(error)) => Err(End::Lost(format!("{url}: {error}"))),
            Err(_) => Err(End::Lost(format!("{url}: no connection within 10 s"))),
        }
    }

    async fn on_frame(
        &mut self,
        frame: Frame,
        session: &mut Session,
        socket: &mut Socket,
    ) -> Result<(), End> {
        let entries = match &frame {
            Frame::Binary(bytes) => from_msgpack(bytes),
            Frame::Text(text) => from_json(text.as_bytes()),
            Frame::Close(why) => {
                let why = why
                    .as_ref()
                    .map(|why| why.reason.to_string())
                    .unwrap_or_default();
                return Err(End::Lost(format!(
                    "the broker closed the connection: {why}"
                )));
            }
            _ => return Ok(()),
        };
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.tell(Event::Dropped(error)).await,
        };
        let mut messages = Vec::with_capacity(entries.len());
        for entry in entries {
            match session.on(entry) {
                Some(Action::Publish(message)) => messages.push(message),
                Some(Action::Drop(why)) => self.tell(Event::Dropped(why.to_owned())).await?,
                Some(Action::Authenticate) => {
                    let request = Request::Auth {
                        key: self.settings.key_id.expose(),
                        secret: self.settings.secret_key.expose(),
                    };
                    ask(socket, &request).await?;
                }
                Some(Action::Subscribe) => {
                    let symbols = self.symbols.borrow_and_update().clone();
                    subscribe(socket, &symbols).await?;
                }
                Some(Action::Reconnect(reason)) => return Err(End::Lost(reason)),
                Some(Action::GiveUp(reason)) => return Err(End::GiveUp(reason)),
                None => {}
            }
        }
        if messages.is_empty() {
            return Ok(());
        }
        self.tell(Event::Messages(messages)).await
    }

    async fn resubscribe(&mut self, socket: &mut Socket) -> Result<(), End> {
        let symbols = self.symbols.borrow_and_update().clone();
        let everything = ["*".to_owned()];
        let request = Request::Unsubscribe {
            bars: &everything,
            quotes: &everything,
            trades: &everything,
        };
        ask(socket, &request).await?;
        subscribe(socket, &symbols).await
    }

    async fn tell(&self, event: Event) -> Result<(), End> {
        self.events.send(event).await.map_err(|_| End::Unheard)
    }
}

async fn subscribe(socket: &mut Socket, symbols: &[String]) -> Result<(), End> {
    let request = Request::Subscribe {
        bars: symbols,
        quotes: symbols,
        trades: symbols,
    };
    ask(socket, &request).await
}

async fn ask(socket: &mut Socket, request: &Request<'_>) -> Result<(), End> {
    send(socket, Frame::Binary(request.to_msgpack()?.into())).await
}

async fn send(socket: &mut Socket, frame: Frame) -> Result<(), End> {
    match timeout(CONNECT, socket.send(frame)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(End::Lost(error.to_string())),
        Err(_) => Err(End::Lost("the broker takes nothing any more".to_owned())),
    }
}
