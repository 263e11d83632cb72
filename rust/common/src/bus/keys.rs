use std::fs;
use std::io::Read;
use std::path::Path;

use omq_tokio::{CurvePublicKey, CurveSecretKey};
use serde::Deserialize;

use super::{BusConfig, Security};
use crate::service::Failure;

const SERVER_KEY: &str = "server.key";
const SERVER_PUBLIC: &str = "server.pub";
const CLIENT_KEY: &str = "client.key";
const ALLOWED: &str = "allowed.keys";
/// No key file is longer.
const LONGEST: u64 = 65_536;

/// The two ways in which a service's sockets are set up.
#[derive(Clone, Debug)]
pub struct Sides {
    /// For sockets that bind.
    pub bound: BusConfig,
    /// For sockets that connect.
    pub connected: BusConfig,
}

impl Sides {
    /// Open ones without `keys_dir`; with it, CURVE by the keys in that folder, which
    /// `trading-console keys new` makes and `console/bridge/security.py` describes.
    ///
    /// # Errors
    /// A key file that is missing, readable by others, or holds no key: exit code 78.
    pub fn new(high_water_mark: u32, keys_dir: Option<&Path>) -> Result<Self, Failure> {
        let (server, client) = match keys_dir {
            None => (Security::Open, Security::Open),
            Some(folder) => read(folder)?,
        };
        let config = |security| BusConfig {
            high_water_mark,
            security,
        };
        Ok(Self {
            bound: config(server),
            connected: config(client),
        })
    }
}

fn read(folder: &Path) -> Result<(Security, Security), Failure> {
    let server = pair(&folder.join(SERVER_KEY));
    let client = pair(&folder.join(CLIENT_KEY))?;
    let server_key = match &server {
        Ok(pair) => pair.public.clone(),
        Err(_) if !folder.join(SERVER_KEY).exists() => {
            let path = folder.join(SERVER_PUBLIC);
            public(text(&path)?.trim(), &path)?
        }
        Err(failure) => return Err(failure.clone()),
    };
    let allowed_path = folder.join(ALLOWED);
    let allowed = if allowed_path.exists() {
        text(&allowed_path)?
            .lines()
            .map(|line| line.split(" #").next().unwrap_or_default().trim())
            .filter(|line| !line.is_empty() && !line.starts_with("# "))
            .map(|line| public(line, &allowed_path))
            .collect::<Result<Vec<_>, _>>()?
    } else {
        Vec::new()
    };
    let connected = Security::Client {
        secret_key: client.secret,
        server_key,
    };
    let bound = Security::Server {
        secret_key: server?.secret,
        allowed,
    };
    Ok((bound, connected))
}

#[derive(Deserialize)]
struct Pair {
    public: String,
    secret: String,
}

fn pair(path: &Path) -> Result<Pair, Failure> {
    let no_key = || {
        Failure::config(format!(
            "{} holds no CURVE key (40 characters of Z85); remove it and run `trading-console keys new`",
            path.display()
        ))
    };
    // The parser's error would show the line, and with it the key.
    let pair: Pair = toml::from_str(&text(path)?).map_err(|_| no_key())?;
    let secret = CurveSecretKey::from_z85(&pair.secret).map_err(|_| no_key())?;
    let derived = secret.derive_public();
    if CurvePublicKey::from_z85(&pair.public)
        .map_err(|_| no_key())?
        .0
        != derived.0
    {
        return Err(Failure::config(format!(
            "{}: public and secret are not of one pair; remove it and run `trading-console keys new`",
            path.display()
        )));
    }
    Ok(pair)
}

fn public(key: &str, path: &Path) -> Result<String, Failure> {
    CurvePublicKey::from_z85(key)
        .map(|_| key.to_owned())
        .map_err(|_| {
            Failure::config(format!(
                "{}: {key:?} is no public key (40 characters of Z85); take it out or run `trading-console keys new`",
                path.display()
            ))
        })
}

fn text(path: &Path) -> Result<String, Failure> {
    let missing = |error: std::io::Error| {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => "isn't there".to_owned(),
            _ => format!("can't be read ({error})"),
        };
        Failure::config(format!(
            "bus.security is on and {} {why}; make the keys with `trading-console keys new`",
            path.display()
        ))
    };
    let file = fs::File::open(path).map_err(missing)?;
    let mode = mode(&file).map_err(missing)?;
    if mode & 0o077 != 0 {
        let path = path.display();
        return Err(Failure::config(format!(
            "{path} has mode {mode:04o}, readable by others; chmod 600 {path}"
        )));
    }
    let mut text = String::new();
    file.take(LONGEST)
        .read_to_string(&mut text)
        .map_err(missing)?;
    Ok(text)
}

#[cfg(unix)]
fn mode(file: &fs::File) -> std::io::Result<u32> {
    use std::os::unix::fs::PermissionsExt;
    Ok(file.metadata()?.permissions().mode() & 0o777)
}

#[cfg(not(unix))]
fn mode(_: &fs::File) -> std::io::Result<u32> {
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use omq_tokio::CurveKeypair;

    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("keys-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn write(&self, name: &str, text: &str, mode: u32) {
            use std::os::unix::fs::PermissionsExt;
            let path = self.0.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }

        fn refusal(&self) -> String {
            let failure = Sides::new(10, Some(&self.0)).unwrap_err();
            assert_eq!(failure.exit_code, 78);
            assert_eq!(failure.message.lines().count(), 1);
            failure.message
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn key() -> (String, String) {
        let pair = CurveKeypair::generate();
        let text = format!(
            "public = \"{}\"\nsecret = \"{}\"\n",
            pair.public.to_z85(),
            pair.secret.to_z85()
        );
        (pair.public.to_z85(), text)
    }

    #[test]
    fn without_a_folder_the_bus_is_open() {
        let sides = Sides::new(10, None).unwrap();
        assert!(matches!(sides.bound.security, Security::Open));
        assert!(matches!(sides.connected.security, Security::Open));
    }

    #[test]
    fn a_folder_makes_both_sides() {
        let folder = Folder::new("both");
        let (server, text) = key();
        folder.write(SERVER_KEY, &text, 0o600);
        let (client, text) = key();
        folder.write(CLIENT_KEY, &text, 0o600);
        let list = format!("# public keys of clients\n{client} # the console\n\n");
        folder.write(ALLOWED, &list, 0o600);
        let sides = Sides::new(10, Some(&folder.0)).unwrap();
        let Security::Server { allowed, .. } = &sides.bound.security else {
            panic!("{sides:?}")
        };
        assert_eq!(allowed, &[client]);
        let Security::Client { server_key, .. } = &sides.connected.security else {
            panic!("{sides:?}")
        };
        assert_eq!(server_key, &server);
    }

    #[test]
    fn what_is_wrong_with_a_key_file_is_one_line_without_the_key() {
        let folder = Folder::new("wrong");
        assert!(folder.refusal().contains("trading-console keys new"));
        let (_, text) = key();
        folder.write(CLIENT_KEY, &text, 0o600);
        assert!(folder.refusal().contains(SERVER_PUBLIC));
        folder.write(SERVER_KEY, &text, 0o644);
        assert!(folder.refusal().contains("chmod 600"));
        let (other, _) = key();
        let secret = text.lines().nth(1).unwrap();
        let mixed = format!("public = \"{other}\"\n{secret}\n");
        folder.write(SERVER_KEY, &mixed, 0o600);
        let refusal = folder.refusal();
        assert!(refusal.contains("not of one pair"), "{refusal}");
        assert!(!refusal.contains(secret), "{refusal}");
        folder.write(SERVER_KEY, secret, 0o600);
        let refusal = folder.refusal();
        assert!(refusal.contains("holds no CURVE key"), "{refusal}");
        assert!(!refusal.contains(secret), "{refusal}");
    }
}
