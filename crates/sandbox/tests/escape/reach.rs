//! What is not a function's to reach. Decoys listen where real services would be, in a network namespace of the suite's
//! own; nothing here ever leaves this host.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    os::{fd::AsRawFd, unix::net::UnixListener, unix::net::UnixStream},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, ipproto, netlink, socket_with},
};
use sandbox::Request;

use crate::{
    Line,
    call::{call, given},
    denied, judged,
    world::{World, request},
};

/// Addresses that decoys listen at: metadata services, private and shared ranges.
const ADDRESSES: &[(&str, Ipv4Addr)] = &[
    ("METADATA", Ipv4Addr::new(169, 254, 169, 254)),
    ("CONTAINER_METADATA", Ipv4Addr::new(169, 254, 170, 2)),
    ("PRIVATE_10", Ipv4Addr::new(10, 0, 0, 1)),
    ("PRIVATE_172", Ipv4Addr::new(172, 16, 0, 1)),
    ("PRIVATE_192", Ipv4Addr::new(192, 168, 0, 1)),
    ("SHARED_100", Ipv4Addr::new(100, 64, 0, 1)),
];
const UNREACHABLE: &[Errno] = &[Errno::NETUNREACH, Errno::HOSTUNREACH, Errno::CONNREFUSED, Errno::ADDRNOTAVAIL];
const REFUSED: &[Errno] = &[Errno::CONNREFUSED];
const FORBIDDEN: &[Errno] = &[Errno::PERM];
const PATIENCE: Duration = Duration::from_secs(3);

pub const LINES: &[Line] = &[
    denied("metadata", UNREACHABLE, || connected("METADATA")),
    denied("container_metadata", UNREACHABLE, || connected("CONTAINER_METADATA")),
    denied("private_10", UNREACHABLE, || connected("PRIVATE_10")),
    denied("private_172", UNREACHABLE, || connected("PRIVATE_172")),
    denied("private_192", UNREACHABLE, || connected("PRIVATE_192")),
    denied("shared_100", UNREACHABLE, || connected("SHARED_100")),
    denied("metadata_of_ipv6", UNREACHABLE, || connected_to("[fd00:ec2::254]:80")),
    denied("a_public_address", UNREACHABLE, || connected_to("192.0.2.1:443")),
    denied("multicast", UNREACHABLE, || {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
        socket.send_to(b"x", "224.0.0.1:5353").map(|sent| format!("{sent} bytes"))
    }),
    denied("a_name_server", UNREACHABLE, || {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
        socket.send_to(b"x", "198.51.100.53:53").map(|sent| format!("{sent} bytes"))
    }),
    denied("the_host_s_loopback", REFUSED, || connected("LOOPBACK")),
    denied("the_host_s_loopback_as_any", REFUSED, || {
        let port = given("LOOPBACK").rsplit(':').next().unwrap_or_default().to_owned();
        connected_to(&format!("0.0.0.0:{port}"))
    }),
    judged("another_environment_s_api", neighbour_api, || match TcpStream::connect("127.0.0.1:9001") {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok("denied".to_owned()),
        other => Ok(format!("{other:?}")),
    }),
    judged("its_own_api_is_its_own", own_api, || {
        use io::Read;
        let mut text = String::new();
        TcpStream::connect("127.0.0.1:9001")?.read_to_string(&mut text)?;
        Ok(text)
    }),
    judged("a_socket_file_of_the_host", socket_file, || match UnixStream::connect(given("SOCKET")) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok("denied".to_owned()),
        other => Ok(format!("{other:?}")),
    }),
    denied("raw", FORBIDDEN, || made(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP))),
    denied("raw_of_ipv6", FORBIDDEN, || made(AddressFamily::INET6, SocketType::RAW, Some(ipproto::ICMPV6))),
    denied("ping", FORBIDDEN, || made(AddressFamily::INET, SocketType::DGRAM, Some(ipproto::ICMP))),
    denied("sctp", FORBIDDEN, || made(AddressFamily::INET, SocketType::STREAM, Some(ipproto::SCTP))),
    denied("packet", FORBIDDEN, || made(AddressFamily::PACKET, SocketType::RAW, None)),
    denied("vsock", FORBIDDEN, || made(AddressFamily::VSOCK, SocketType::STREAM, None)),
    denied("crypto_of_the_kernel", FORBIDDEN, || made(AddressFamily::from_raw(38), SocketType::SEQPACKET, None)),
    denied("bluetooth", FORBIDDEN, || made(AddressFamily::BLUETOOTH, SocketType::RAW, None)),
    denied("tipc", FORBIDDEN, || made(AddressFamily::TIPC, SocketType::SEQPACKET, None)),
    denied("xdp", FORBIDDEN, || made(AddressFamily::XDP, SocketType::RAW, None)),
    denied("key_management", FORBIDDEN, || made(AddressFamily::KEY, SocketType::RAW, None)),
    denied("netlink_audit", FORBIDDEN, || made(AddressFamily::NETLINK, SocketType::RAW, Some(netlink::AUDIT))),
    denied("netlink_netfilter", FORBIDDEN, || made(AddressFamily::NETLINK, SocketType::RAW, Some(netlink::NETFILTER))),
    denied("netlink_events", FORBIDDEN, || {
        made(AddressFamily::NETLINK, SocketType::RAW, Some(netlink::KOBJECT_UEVENT))
    }),
    denied("an_address_of_its_own", FORBIDDEN, || {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
        set_address(&socket, "lo", Ipv4Addr::new(169, 254, 169, 254)).map(|()| "set".to_owned())
    }),
    denied("a_port_below_1024", &[Errno::ACCESS], || {
        TcpListener::bind("127.0.0.1:80").map(|bound| format!("{bound:?}"))
    }),
    denied("another_network_namespace", FORBIDDEN, || {
        let own = std::fs::File::open("/proc/self/ns/net")?;
        call(libc::SYS_setns, &[usize::try_from(own.as_raw_fd()).unwrap(), 0x4000_0000])
    }),
];

fn connected(variable: &str) -> io::Result<String> {
    connected_to(&given(variable))
}

fn connected_to(address: &str) -> io::Result<String> {
    let address: SocketAddr = address.parse().map_err(|_| io::Error::other("no decoy"))?;
    TcpStream::connect_timeout(&address, PATIENCE).map(|stream| format!("{stream:?}"))
}

fn made(family: AddressFamily, kind: SocketType, protocol: Option<rustix::net::Protocol>) -> io::Result<String> {
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC, protocol).map(|socket| format!("{socket:?}"))?)
}

/// The neighbour listens at 9001 in its own namespace, and so it does not in another.
fn neighbour_api(world: &World, line: &Line) {
    assert_eq!(world.run(line).told(), "denied");
}

/// What the denials above would look like if they were for the wrong reason.
fn own_api(world: &World, line: &Line) {
    use io::Write;
    let mut launched = world.launch(line, &Request { ports: vec![9001], ..request() }, &[]);
    let listener = launched.listeners.remove(0);
    let (mut stream, peer) = listener.accept().unwrap();
    assert!(peer.ip().is_loopback());
    stream.write_all(b"hello").unwrap();
    drop(stream);
    assert_eq!(world.end(&mut launched).told(), "hello");
    world.launcher.reap(launched.id).unwrap();
}

fn socket_file(world: &World, line: &Line) {
    let path = world.host_path("a.sock");
    let listener = UnixListener::bind(&path).unwrap();
    UnixStream::connect(&path).expect("it is there outside");
    let ended = world.run_with(line, &request(), &[("SOCKET", path.display().to_string())]);
    drop(listener);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(ended.told(), "denied");
}

/// Listeners of the host that no function may reach.
pub struct Decoys(Vec<(&'static str, TcpListener)>);

impl Decoys {
    /// Listens at every address there is, and connects to each, so that a denial inside means something.
    pub fn start() -> Decoys {
        let mut decoys = vec![("LOOPBACK", TcpListener::bind("127.0.0.1:0").unwrap())];
        // Only the suite's own namespace has the addresses; elsewhere binding fails, and the lines show that much.
        let others =
            ADDRESSES.iter().filter_map(|&(name, address)| Some((name, TcpListener::bind((address, 80)).ok()?)));
        decoys.extend(others);
        for (name, listener) in &decoys {
            let address = listener.local_addr().unwrap();
            TcpStream::connect_timeout(&address, PATIENCE).unwrap_or_else(|error| panic!("decoy {name}: {error}"));
        }
        Decoys(decoys)
    }

    /// Where they are, for the attempts.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let all = ADDRESSES.iter().map(|&(name, address)| (name, SocketAddr::from(SocketAddrV4::new(address, 80))));
        let loopback = self.0.iter().map(|(name, listener)| (*name, listener.local_addr().unwrap()));
        all.chain(loopback).map(|(name, address)| (name.to_owned(), address.to_string())).collect()
    }
}

/// Goes to a network namespace of its own that has loopback and the decoys' addresses. Takes root.
#[expect(unsafe_code, reason = "rustix holds unshare unsafe for the sake of CLONE_FILES")]
pub fn own_network() {
    // SAFETY: the flag concerns neither descriptors nor memory.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).unwrap();
    set_address(&socket, "lo", Ipv4Addr::LOCALHOST).unwrap();
    set_up(&socket, "lo").unwrap();
    for (place, (_, address)) in ADDRESSES.iter().enumerate() {
        set_address(&socket, &format!("lo:{place}"), *address).unwrap();
    }
}

fn set_address(socket: &impl AsRawFd, interface: &str, address: Ipv4Addr) -> io::Result<()> {
    let mut request = interface_request(interface);
    request.ifr_ifru.ifru_addr.sa_family = libc::AF_INET as libc::sa_family_t;
    // Behind the port (two bytes) of a `struct sockaddr_in`.
    #[expect(unsafe_code, reason = "the fields of a C union")]
    // SAFETY: every bit pattern is a value of this member, which the line above has written to.
    let data = unsafe { &mut request.ifr_ifru.ifru_addr.sa_data };
    for (to, from) in data[2..6].iter_mut().zip(address.octets()) {
        *to = from as libc::c_char;
    }
    ask(socket, libc::SIOCSIFADDR, &request)
}

fn set_up(socket: &impl AsRawFd, interface: &str) -> io::Result<()> {
    let mut request = interface_request(interface);
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    ask(socket, libc::SIOCSIFFLAGS, &request)
}

#[expect(unsafe_code, reason = "a C struct begins as zeroes")]
fn interface_request(interface: &str) -> libc::ifreq {
    // SAFETY: all zeroes is a value of this plain C struct.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    request
}

#[expect(unsafe_code, reason = "rustix does not offer the requests for interfaces")]
fn ask(socket: &impl AsRawFd, what: libc::c_ulong, request: &libc::ifreq) -> io::Result<()> {
    // SAFETY: both requests read a `struct ifreq`, which is what is passed, with its name ended by NUL.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), what as _, std::ptr::from_ref(request)) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
