//! One connection to the proxy: what is asked for, whether it may be, and the bytes to and fro.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout},
};

use super::{
    Place, Shared,
    head::{self, Asked, HEAD_BYTES_MAX},
    policy::{Denied, Mode},
    refusal::{Named, Refusal},
    told,
};

/// How long a head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a name may take. The thread that looks it up may take longer, and keeps its place until then.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one address may take to answer, and how many are tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ADDRESSES_MAX: usize = 4;
/// How long nothing may move. Source: Amazon VPC User Guide, "NAT gateways": 350 seconds.
const IDLE_TIMEOUT: Duration = Duration::from_secs(350);
/// How long a refused client may take to read why.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes in flight, each way.
const BUFFER_BYTES: usize = 16 << 10;

/// Serves a connection to its end.
pub(super) async fn serve(shared: Arc<Shared>, place: Arc<Place>, mut client: TcpStream, permit: OwnedSemaphorePermit) {
    let _ = client.set_nodelay(true);
    let (asked, rest) = match timeout(HEAD_TIMEOUT, read(&mut client)).await {
        Ok(Ok(Some(read))) => read,
        Ok(Ok(None)) | Err(_) => return,
        Ok(Err(malformed)) => return refuse(client, &Refusal::Malformed(malformed)).await,
    };
    let held = [&shared.node, &place.account].map(|room| Arc::clone(room).try_acquire_owned());
    if held.iter().any(Result::is_err) {
        return refuse(client, &Refusal::Busy).await;
    }
    let mut server = match open(&shared, &place, &asked).await {
        Ok(server) => server,
        Err(refusal) => {
            tell(&shared, &place, &asked, &refusal);
            return refuse(client, &refusal).await;
        }
    };
    let begun = match &asked.forward {
        None => client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await,
        Some(head) => server.write_all(head).await,
    };
    if begun.is_ok() && server.write_all(&rest).await.is_ok() {
        relay(client, server).await;
    }
    drop((held, permit));
}

/// Reads a head, and what came along with it. `None`: the client went away.
async fn read(client: &mut TcpStream) -> Result<Option<(Asked, Vec<u8>)>, head::Malformed> {
    let mut bytes = Vec::with_capacity(1 << 10);
    loop {
        match client.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
        if let Some(asked) = head::parse(&bytes)? {
            let rest = bytes.split_off(asked.length.min(bytes.len()));
            return Ok(Some((asked, rest)));
        }
        if bytes.len() >= HEAD_BYTES_MAX {
            return Err("the head of the request is too long");
        }
    }
}

/// Finds the addresses, judges each, and connects to the first that may be and answers.
async fn open(shared: &Shared, place: &Place, asked: &Asked) -> Result<TcpStream, Refusal> {
    let literal = asked.host.parse::<IpAddr>().ok();
    let denied = |denied: Denied, address: Option<IpAddr>| {
        let named = Named {
            account: place.owner.account.clone(),
            host: asked.host.clone(),
            port: asked.port,
            is_literal: literal.is_some(),
        };
        Refusal::Denied(denied, address, Box::new(named))
    };
    // Without a way out no name is looked up either: a question to a name server is a way out.
    if place.policy.mode == Mode::None {
        return Err(denied(Denied::Off, None));
    }
    let found = match literal {
        Some(address) => vec![SocketAddr::new(address, asked.port)],
        None => look_up(shared, place, asked).await?,
    };
    // Read anew after the name was looked up, for an address may have come up meanwhile.
    let own = shared.own.addresses().map_err(Refusal::Unreachable)?;
    let is_own = |address: IpAddr| own.contains(&address);
    let mut first_denied = None;
    let mut permitted = Vec::with_capacity(ADDRESSES_MAX);
    for address in found {
        // The translated form is what the kernel would connect to in the end; and a scope or flow is nobody's business.
        let address = SocketAddr::new(address.ip().to_canonical(), asked.port);
        match place.policy.judge(&asked.host, address, is_own) {
            Ok(()) if permitted.len() < ADDRESSES_MAX => permitted.push(address),
            Ok(()) => {}
            Err(why) => _ = first_denied.get_or_insert((why, address.ip())),
        }
    }
    let mut failed = match first_denied {
        Some((why, address)) if permitted.is_empty() => return Err(denied(why, Some(address))),
        _ => Refusal::Unknown(io::ErrorKind::NotFound.into()),
    };
    for address in permitted {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                check_other_end(&stream, place, asked, address).map_err(|why| denied(why, Some(address.ip())))?;
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => failed = Refusal::Unreachable(error),
            Err(_) => failed = Refusal::Late,
        }
    }
    Err(failed)
}

/// A connection whose two ends have one address leads to this node, whatever its interfaces were said to have.
fn check_other_end(stream: &TcpStream, place: &Place, asked: &Asked, address: SocketAddr) -> Result<(), Denied> {
    let Ok(local) = stream.local_addr() else { return Ok(()) };
    let local = local.ip().to_canonical();
    if local != address.ip() {
        return Ok(());
    }
    place.policy.judge(&asked.host, address, |own| own == local)
}

async fn look_up(shared: &Shared, place: &Place, asked: &Asked) -> Result<Vec<SocketAddr>, Refusal> {
    let turns = [&place.lookups, &shared.lookups].map(|room| Arc::clone(room).try_acquire_owned());
    if turns.iter().any(Result::is_err) {
        return Err(Refusal::Busy);
    }
    let looking = (shared.resolve)(asked.host.clone(), asked.port);
    // A task of its own, since a look-up cannot be broken off: its turn ends with it, not with who waits for it.
    let looking = tokio::spawn(async move {
        let found = looking.await;
        drop(turns);
        found
    });
    match timeout(LOOKUP_TIMEOUT, looking).await {
        Ok(Ok(Ok(found))) => Ok(found),
        Ok(Ok(Err(error))) => Err(Refusal::Unknown(error)),
        Ok(Err(error)) => Err(Refusal::Unknown(io::Error::other(error))),
        Err(_) => Err(Refusal::Late),
    }
}

/// Says in the server's log what was refused. Neither path nor fields of a request are told, for they hold secrets.
fn tell(shared: &Shared, place: &Place, asked: &Asked, refusal: &Refusal) {
    let (account, function) = (&place.owner.account, &place.owner.function);
    let (host, port) = (&asked.host, asked.port);
    let (denied, address, named) = match refusal {
        Refusal::Denied(denied, address, named) => (denied, address, named),
        Refusal::Unknown(error) | Refusal::Unreachable(error) => {
            return tracing::debug!(account, function, host, port, %error, "a function cannot connect there");
        }
        Refusal::Malformed(_) | Refusal::Busy | Refusal::Late => return,
    };
    let Some(kept_back) = shared.told.turn(&place.owner, host, port, std::time::Instant::now()) else { return };
    let why = named.for_operator(denied, *address);
    let address = address.map(|address| address.to_string()).unwrap_or_default();
    let told::KeptBack { same, others } = kept_back;
    tracing::warn!(
        account,
        function,
        host,
        port,
        address,
        why,
        kept_back = same,
        kept_back_of_others = others,
        "a function may not connect there"
    );
}

/// Answers with a refusal and closes.
async fn refuse(mut client: TcpStream, refusal: &Refusal) {
    let (status, reason) = (refusal.status(), refusal.reason());
    let text = format!("{refusal}\n");
    let answer = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{text}",
        text.len()
    );
    let told = async {
        client.write_all(answer.as_bytes()).await?;
        client.shutdown().await?;
        // What is still on its way would otherwise make the kernel take the answer back.
        let mut rest = [0; 1 << 10];
        while client.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = timeout(REFUSAL_TIMEOUT, told).await;
}

/// Carries bytes both ways until both ends have closed, one has failed, or nothing has moved for long.
async fn relay(client: TcpStream, server: TcpStream) {
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let moved = Moved { start: Instant::now(), last_ms: AtomicU64::new(0) };
    let both =
        async { tokio::try_join!(pump(client_read, server_write, &moved), pump(server_read, client_write, &moved)) };
    tokio::select! {
        _ = both => {}
        () = moved.stopped() => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, moved: &Moved) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = from.read(&mut buffer).await?;
        moved.now();
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(buffer.get(..length).unwrap_or_default()).await?;
        moved.now();
    }
}

/// When bytes last moved.
struct Moved {
    start: Instant,
    last_ms: AtomicU64,
}

impl Moved {
    fn now(&self) {
        let ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(ms, Ordering::Relaxed);
    }

    /// Waits until nothing has moved for [`IDLE_TIMEOUT`].
    async fn stopped(&self) {
        loop {
            let last = self.start + Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
            let deadline = last + IDLE_TIMEOUT;
            if Instant::now() >= deadline {
                return;
            }
            tokio::time::sleep_until(deadline).await;
        }
    }
}
