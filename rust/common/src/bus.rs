//! The bus's sockets: a publisher, a subscriber and a requester over ZeroMQ.
//!
//! Nothing outside this module names the ZeroMQ library, so that another can take its place.
//! Every socket drops what waits when it is closed, takes no message beyond [`MAX_FRAME`], holds a
//! bounded number of them and beats, so that a dead peer is noticed.

mod keys;
mod link;
mod publisher;
mod requester;
mod subscriber;

use std::time::Duration;

use omq_tokio::endpoint::Host;
use omq_tokio::options::ReconnectPolicy;
use omq_tokio::{
    CurveKeypair, CurvePublicKey, CurveSecretKey, CurveServerOptions, Endpoint, Error, KeepAlive,
    Options, Socket, SocketType,
};

use crate::messages::MAX_FRAME;
use crate::service::Failure;

pub use keys::Sides;
pub use publisher::Publisher;
pub use requester::{RequestError, Requester};
pub use subscriber::{Frame, Gaps, Subscriber, SubscriberStats};

/// The largest high-water mark that a socket takes.
pub const MAX_HIGH_WATER_MARK: u32 = 1 << 20;

const BEAT: Duration = Duration::from_secs(5);
const BEAT_TIMEOUT: Duration = Duration::from_secs(15);
const RECONNECT_MIN: Duration = Duration::from_millis(50);
const RECONNECT_MAX: Duration = Duration::from_secs(2);
/// The library charges each message some bytes beside its own.
const OVERHEAD: usize = 1024;

/// How the sockets of one service are set up.
#[derive(Clone, Debug)]
pub struct BusConfig {
    /// Messages that a socket holds before it drops: 1 to 2^20.
    pub high_water_mark: u32,
    pub security: Security,
}

impl Default for BusConfig {
    fn default() -> Self {
        Self {
            high_water_mark: 262_144,
            security: Security::Open,
        }
    }
}

/// CURVE on a socket; keys are Z85 text of 40 characters.
#[derive(Clone, Default)]
pub enum Security {
    /// No encryption: loopback only.
    #[default]
    Open,
    /// For a socket that binds: only clients with one of these public keys get in.
    Server {
        secret_key: String,
        allowed: Vec<String>,
    },
    /// For a socket that connects.
    Client {
        secret_key: String,
        server_key: String,
    },
}

impl std::fmt::Debug for Security {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::Server { .. } => "Server(…)",
            Self::Client { .. } => "Client(…)",
        })
    }
}

fn options(config: &BusConfig) -> Result<Options, Failure> {
    let mark = config.high_water_mark;
    if !(1..=MAX_HIGH_WATER_MARK).contains(&mark) {
        return Err(Failure::config(format!(
            "bus.high_water_mark = {mark}: 1 to {MAX_HIGH_WATER_MARK} messages are taken"
        )));
    }
    let options = Options::new()
        .send_hwm(mark)
        .recv_hwm(mark)
        .linger(Duration::ZERO)
        .max_message_size(MAX_FRAME + OVERHEAD)
        .heartbeat_interval(BEAT)
        .heartbeat_timeout(BEAT_TIMEOUT)
        .reconnect(ReconnectPolicy::Exponential {
            min: RECONNECT_MIN,
            max: RECONNECT_MAX,
        })
        .tcp_keepalive(KeepAlive::Enabled {
            idle: Duration::from_secs(30),
            intvl: Duration::from_secs(10),
            cnt: 3,
        });
    secured(options, &config.security)
}

fn secured(options: Options, security: &Security) -> Result<Options, Failure> {
    Ok(match security {
        Security::Open => options,
        Security::Server {
            secret_key,
            allowed,
        } => {
            let allowed = allowed
                .iter()
                .map(|key| public_key(key))
                .collect::<Result<Vec<_>, _>>()?;
            let server = CurveServerOptions::new()
                .authenticator(move |peer| allowed.iter().any(|key| peer.public_key == key.0));
            options.curve_server_with_options(key_pair(secret_key)?, server)
        }
        Security::Client {
            secret_key,
            server_key,
        } => options.curve_client(key_pair(secret_key)?, public_key(server_key)?),
    })
}

fn key_pair(secret: &str) -> Result<CurveKeypair, Failure> {
    let secret = CurveSecretKey::from_z85(secret)
        .map_err(|_| bad_key("a secret key of [bus.security] isn't one"))?;
    Ok(CurveKeypair {
        public: secret.derive_public(),
        secret,
    })
}

fn public_key(key: &str) -> Result<CurvePublicKey, Failure> {
    CurvePublicKey::from_z85(key)
        .map_err(|_| bad_key(&format!("public key {key:?} of [bus.security] isn't one")))
}

fn bad_key(what: &str) -> Failure {
    Failure::config(format!(
        "{what}: 40 characters of Z85 are wanted; make new ones with `trading-console keys`"
    ))
}

fn socket(kind: SocketType, options: Options) -> Result<Socket, Failure> {
    Socket::try_new(kind, options).map_err(|error| Failure::failed(format!("bus: {error}")))
}

/// Where to listen; `setting` names the port's place in the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Listen<'a> {
    pub setting: &'a str,
    pub host: &'a str,
    pub port: u16,
}

impl Listen<'_> {
    async fn bind(&self, socket: &Socket, security: &Security) -> Result<u16, Failure> {
        let Self {
            setting,
            host,
            port,
        } = *self;
        let address: std::net::IpAddr = host.parse().map_err(|_| {
            Failure::config(format!(
                "bus.bind = {host:?}: an IP address of this machine is wanted, such as 127.0.0.1"
            ))
        })?;
        if !address.is_loopback() && matches!(security, Security::Open) {
            return Err(Failure::config(format!(
                "bus.bind = {host:?} is reachable from outside; that needs bus.security.enabled = true and keys"
            )));
        }
        let endpoint = Endpoint::Tcp {
            host: Host::Ip(address),
            port,
        };
        match socket.bind(endpoint).await {
            Ok(Endpoint::Tcp { port, .. }) => Ok(port),
            Ok(_) => Err(Failure::failed(format!("{setting}: not bound to TCP"))),
            Err(Error::Io(error)) => {
                let address = std::net::SocketAddr::new(address, port).to_string();
                Err(Failure::port(setting, &address, &error))
            }
            Err(error) => Err(Failure::failed(format!(
                "{setting}: {host}:{port}: {error}"
            ))),
        }
    }
}

fn endpoint(url: &str) -> Result<Endpoint, Failure> {
    match url.parse() {
        Ok(endpoint @ Endpoint::Tcp { port, .. }) if port != 0 => Ok(endpoint),
        _ => Err(Failure::config(format!(
            "{url:?} is no address of the bus; one like tcp://127.0.0.1:5555 is wanted"
        ))),
    }
}

#[cfg(test)]
mod tests;
