use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
};

use super::{
    policy::{Denied, Kind, Mode, Network, Policy, Rule},
    *,
};

fn rules(texts: &[&str]) -> Vec<Rule> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn policy(allow: &[&str], deny: &[&str]) -> Policy {
    Policy { mode: Mode::Proxy, allow: rules(allow), deny: rules(deny) }
}

fn judge(policy: &Policy, name: &str, address: &str) -> Result<(), Denied> {
    let own: [IpAddr; 3] = ["9.9.9.10", "2600::10", "127.0.0.1"].map(|text| text.parse().unwrap());
    policy.judge(name, address.parse().unwrap(), |address| own.contains(&address))
}

#[test]
fn by_default_public_addresses_alone_are_reached() {
    for address in
        ["9.9.9.9:443", "[2600::1]:443", "192.31.196.1:1", "172.32.0.1:65535", "100.128.0.1:80", "[2002:909:909::]:1"]
    {
        assert_eq!(judge(&Policy::default(), "x", address), Ok(()), "{address}");
    }
    for (address, kind) in [
        ("0.0.0.0:80", Kind::Unspecified),
        ("0.1.2.3:80", Kind::Unspecified),
        ("[::]:80", Kind::Unspecified),
        ("127.0.0.1:80", Kind::Loopback),
        ("127.255.255.254:80", Kind::Loopback),
        ("[::1]:80", Kind::Loopback),
        ("169.254.169.254:80", Kind::Metadata),
        ("169.254.170.2:80", Kind::Metadata),
        ("169.254.1.1:80", Kind::LinkLocal),
        ("100.100.100.200:80", Kind::Metadata),
        ("168.63.129.16:80", Kind::Metadata),
        ("[fd00:ec2::254]:80", Kind::Metadata),
        ("[fe80::1]:80", Kind::LinkLocal),
        ("[febf::1]:80", Kind::LinkLocal),
        ("10.0.0.1:80", Kind::Private),
        ("172.16.0.1:80", Kind::Private),
        ("172.31.255.255:80", Kind::Private),
        ("192.168.1.1:80", Kind::Private),
        ("[fc00::1]:80", Kind::Private),
        ("[fdff::1]:80", Kind::Private),
        ("[fec0::1]:80", Kind::Private),
        ("100.64.0.1:80", Kind::Shared),
        ("100.127.255.255:80", Kind::Shared),
        ("192.0.0.8:80", Kind::Reserved),
        ("192.88.99.1:80", Kind::Reserved),
        ("198.19.0.1:80", Kind::Reserved),
        ("240.0.0.1:80", Kind::Reserved),
        ("255.255.255.255:80", Kind::Reserved),
        ("192.0.2.1:80", Kind::Documentation),
        ("198.51.100.1:80", Kind::Documentation),
        ("203.0.113.1:80", Kind::Documentation),
        ("[2001:db8::1]:80", Kind::Documentation),
        ("[3fff::1]:80", Kind::Documentation),
        ("224.0.0.1:80", Kind::Multicast),
        ("239.255.255.255:80", Kind::Multicast),
        ("[ff02::1]:80", Kind::Multicast),
        ("[2001::1]:80", Kind::Reserved),
        ("[4000::1]:80", Kind::Reserved),
        ("[64:ff9b:1::1]:80", Kind::Reserved),
        ("[::127.0.0.1]:80", Kind::Reserved),
        // What stands for another address is judged as that.
        ("[::ffff:127.0.0.1]:80", Kind::Loopback),
        ("[::ffff:169.254.169.254]:80", Kind::Metadata),
        ("[64:ff9b::a00:1]:80", Kind::Private),
        ("[64:ff9b::7f00:1]:80", Kind::Loopback),
        ("[2002:7f00:1::]:80", Kind::Loopback),
        ("[2002:c0a8:101::1]:80", Kind::Private),
        ("9.9.9.10:80", Kind::Own),
        ("[2600::10]:80", Kind::Own),
        ("[::ffff:9.9.9.10]:80", Kind::Own),
        ("[64:ff9b::909:90a]:80", Kind::Own),
    ] {
        assert_eq!(judge(&Policy::default(), "x", address), Err(Denied::Kind(kind)), "{address}");
    }
}

#[test]
fn rules_open_what_they_name() {
    for (allow, name, address, expected) in [
        ("10.0.0.0/8", "x", "10.1.2.3:1", true),
        ("10.0.0.0/8:443", "x", "10.1.2.3:443", true),
        ("10.0.0.0/8:443", "x", "10.1.2.3:444", false),
        ("10.1.2.3", "x", "10.1.2.4:1", false),
        ("[fd00::/8]:443", "x", "[fd12::1]:443", true),
        ("fd00::/8", "x", "[fd12::1]:9", true),
        ("::ffff:10.0.0.0/104", "x", "10.1.2.3:1", true),
        ("10.0.0.0/8", "x", "[64:ff9b::a00:1]:1", true),
        ("db.internal:5432", "db.internal", "10.1.2.3:5432", true),
        ("DB.internal.", "db.internal", "10.1.2.3:1", true),
        ("db.internal:5432", "db.internal", "10.1.2.3:5433", false),
        ("db.internal:5432", "evil.db.internal", "10.1.2.3:5432", false),
        // A wide range or a name does not open the node.
        ("0.0.0.0/0", "x", "10.0.0.1:1", true),
        ("0.0.0.0/0", "x", "127.0.0.1:1", false),
        ("0.0.0.0/0", "x", "169.254.169.254:1", false),
        ("0.0.0.0/0", "x", "9.9.9.10:1", false),
        ("9.9.9.0/24", "x", "9.9.9.10:1", false),
        ("::/0", "x", "[::1]:1", false),
        ("db.internal", "db.internal", "127.0.0.1:1", false),
        ("db.internal", "db.internal", "169.254.169.254:1", false),
        ("127.0.0.0/8", "x", "127.0.0.1:1", true),
        ("127.0.0.1:4566", "x", "127.0.0.1:4566", true),
        ("169.254.0.0/16", "x", "169.254.1.1:1", true),
        ("169.254.0.0/16", "x", "169.254.169.254:1", false),
        ("169.254.169.254", "x", "169.254.169.254:1", true),
        ("9.9.9.10:80", "x", "9.9.9.10:80", true),
        // No rule opens what means another place than it says.
        ("0.0.0.0", "x", "0.0.0.0:1", false),
        ("224.0.0.1", "x", "224.0.0.1:1", false),
    ] {
        assert_eq!(judge(&policy(&[allow], &[]), name, address).is_ok(), expected, "{allow}: {name} {address}");
    }
}

#[test]
fn a_refusal_wins_over_everything() {
    for (deny, name, address) in [
        ("9.9.9.0/24", "x", "9.9.9.9:443"),
        ("9.9.9.9:443", "x", "[::ffff:9.9.9.9]:443"),
        ("9.9.9.9:443", "x", "[2002:909:909::]:443"),
        ("example.com", "example.com", "9.9.9.9:443"),
    ] {
        let found = judge(&policy(&["0.0.0.0/0", "::/0", "example.com"], &[deny]), name, address);
        assert_eq!(found, Err(Denied::Listed(deny.to_owned())));
    }
    assert_eq!(judge(&policy(&[], &["9.9.9.9:443"]), "x", "9.9.9.9:80"), Ok(()));
    let off = Policy { mode: Mode::None, ..policy(&["9.9.9.9"], &[]) };
    assert_eq!(judge(&off, "x", "9.9.9.9:80"), Err(Denied::Off));
}

#[test]
fn rules_read_back_as_they_were_written() {
    for text in [
        "10.0.0.0/8",
        "10.1.2.3:443",
        "10.0.0.0/8:1",
        "fd00::/8",
        "[fd00::/8]:443",
        "::1",
        "[::1]:65535",
        "db.internal:1",
        "a-b_c",
    ] {
        assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "10.0.0.0/33",
        "10.0.0",
        "10.0.0:80",
        "x:0",
        "x:65536",
        "x:",
        "[x]:1",
        "[::1",
        "[::1]1",
        "a b",
        "*.internal",
        "x/8",
        "http://x",
    ] {
        assert!(text.parse::<Rule>().is_err(), "{text}");
    }
    assert!("::/0".parse::<Network>().unwrap().contains("fd00::1".parse().unwrap()));
}

/// A proxy on loopback of an account with these rules, where every name leads to `addresses`.
fn proxy(policy: Policy, addresses: Vec<&'static str>) -> (SocketAddr, Egress, Guard) {
    let resolve: Resolve = Arc::new(move |name, port| {
        let found = addresses.iter().map(|address| SocketAddr::new(address.parse().unwrap(), port)).collect();
        Box::pin(async move { if name == "unknown.example" { Err(io::ErrorKind::NotFound.into()) } else { Ok(found) } })
    });
    let policies = Policies { base: Policy::default(), accounts: [("111111111111".to_owned(), policy)].into() };
    let egress = Egress::start(Options { policies, api: None, resolve: Some(resolve) }).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let owner = Owner { account: "111111111111".to_owned(), function: "f".to_owned() };
    let guard = egress.serve(listener, owner);
    (address, egress, guard)
}

/// What the proxy answers to these bytes, until it closes.
fn ask(proxy: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(proxy).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A decoy on loopback that counts whoever connects, and answers what it got.
fn decoy() -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = vec![0; 4096];
            let length = stream.read(&mut bytes).unwrap_or(0);
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n\r\ngot {length}").as_bytes());
            if sender.send(text).is_err() {
                return;
            }
        }
    });
    (port, receiver)
}

#[test]
fn a_tunnel_and_a_forwarded_request_reach_what_the_rules_open() {
    let (port, got) = decoy();
    let (at, _egress, _guard) = proxy(policy(&["127.0.0.1"], &[]), vec!["127.0.0.1"]);
    let answer = ask(at, &format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\nhello"));
    assert_eq!(answer, "HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 200 OK\r\n\r\ngot 5");
    assert_eq!(got.recv().unwrap(), "hello");
    let answer = ask(at, &format!("GET http://name.example:{port}/p HTTP/1.1\r\nProxy-Authorization: secret\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(
        got.recv().unwrap(),
        format!("GET /p HTTP/1.1\r\nHost: name.example:{port}\r\nConnection: close\r\n\r\n")
    );
}

#[test]
fn a_name_that_leads_to_the_node_is_refused_and_nobody_is_connected_to() {
    let (port, got) = decoy();
    for addresses in [vec!["127.0.0.1"], vec!["::ffff:127.0.0.1"], vec!["::1", "127.0.0.1"], vec!["0.0.0.0"]] {
        let (at, _egress, _guard) = proxy(Policy::default(), addresses);
        let answer = ask(at, &format!("CONNECT rebound.example:{port} HTTP/1.1\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert!(!answer.contains("127.0.0.1"), "where a name leads is not told: {answer}");
        let answer = ask(at, &format!("GET http://rebound.example:{port}/ HTTP/1.1\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
    assert!(got.try_recv().is_err(), "the decoy was reached");
}

#[test]
fn of_several_addresses_the_permitted_one_is_connected_to() {
    let (port, got) = decoy();
    let (at, _egress, _guard) = proxy(policy(&["127.0.0.1"], &[]), vec!["169.254.169.254", "10.0.0.1", "127.0.0.1"]);
    let answer = ask(at, &format!("CONNECT several.example:{port} HTTP/1.1\r\n\r\nx"));
    assert!(answer.contains("got 1"), "{answer}");
    assert_eq!(got.recv().unwrap(), "x");
}

#[test]
fn refusals_say_which_setting_opens_what_was_refused() {
    let (at, _egress, _guard) = proxy(Policy::default(), vec!["10.0.0.9"]);
    for (target, needles) in [
        (
            "10.1.2.3:443",
            &["10.1.2.3:443", "a private address", "egress_allow = [\"10.1.2.3:443\"]", "111111111111"][..],
        ),
        ("[fd00:ec2::254]:80", &["metadata", "egress_allow = [\"[fd00:ec2::254]:80\"]"]),
        ("db.example:5432", &["leads to a private address", "egress_allow = [\"db.example:5432\"]"]),
        ("0.0.0.0:80", &["No setting opens this one."]),
    ] {
        let answer = ask(at, &format!("CONNECT {target} HTTP/1.1\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 403 Refused by the egress policy: "), "{answer}");
        needles.iter().for_each(|needle| assert!(answer.contains(needle), "{needle}: {answer}"));
    }
    let (at, _egress, _guard) = proxy(Policy { mode: Mode::None, ..Policy::default() }, vec!["9.9.9.9"]);
    let answer = ask(at, "CONNECT x.example:443 HTTP/1.1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("egress = \"proxy\""), "{answer}");
}

#[test]
fn what_cannot_be_served_is_said() {
    let (at, _egress, _guard) = proxy(policy(&["127.0.0.1"], &[]), vec![]);
    for (bytes, status) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("CONNECT nowhere HTTP/1.1\r\n\r\n", 400),
        ("nonsense\r\n\r\n", 400),
        ("CONNECT unknown.example:1 HTTP/1.1\r\n\r\n", 502),
        ("CONNECT without-address.example:1 HTTP/1.1\r\n\r\n", 502),
    ] {
        let answer = ask(at, bytes);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes}: {answer}");
    }
    let long = format!("CONNECT x:1 HTTP/1.1\r\nx: {}\r\n", "y".repeat(40 << 10));
    assert!(ask(at, &long).starts_with("HTTP/1.1 400 "));
}

#[test]
fn the_guard_ends_everything() {
    let (port, _got) = decoy();
    let (at, _egress, guard) = proxy(policy(&["127.0.0.1"], &[]), vec![]);
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
    let mut established = [0; 39];
    stream.read_exact(&mut established).unwrap();
    drop(guard);
    let mut rest = Vec::new();
    // Closed or reset: either way nothing goes on.
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{rest:?}");
}

#[test]
fn connections_to_the_api_are_handed_over_with_their_owner() {
    let (sender, receiver) = mpsc::channel();
    let sender = Mutex::new(sender);
    let api: Api = Arc::new(move |call| sender.lock().unwrap().send(call).unwrap());
    let egress = Egress::start(Options { api: Some(api), ..Options::default() }).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let owner = Owner { account: "222222222222".to_owned(), function: "g".to_owned() };
    let _guard = egress.serve_api(listener, owner.clone());
    let client = TcpStream::connect(at).unwrap();
    let call = receiver.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(call.owner, owner);
    assert_eq!(call.stream.peer_addr().unwrap(), client.local_addr().unwrap());
}
