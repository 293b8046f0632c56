use proptest::prelude::*;

use super::*;

fn path() -> impl Strategy<Value = PathBuf> {
    "/[a-z0-9]{1,12}(/[a-z0-9]{1,12}){0,4}".prop_map(PathBuf::from)
}

fn request() -> impl Strategy<Value = Request> {
    let numbers = (any::<u64>(), any::<u64>(), any::<u32>(), any::<u32>());
    let ports = prop::collection::vec(any::<u16>(), 0..=PORTS_MAX);
    (numbers, prop::option::of(path()), prop::option::of(path()), ports).prop_map(|(numbers, code, layers, ports)| {
        let (memory_bytes, tmp_bytes, cpu_millis, cpu_weight) = numbers;
        Request { memory_bytes, tmp_bytes, cpu_millis, cpu_weight, code, layers, ports }
    })
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        (path(), any::<u64>(), prop::option::of(path())).prop_map(|(runtime_dir, memory_bytes_total, weak_dir)| {
            Command::Prepare { runtime_dir, memory_bytes_total, weak_dir }
        }),
        (path(), path()).prop_map(|(host, inside)| Command::Provide { host, inside }),
        (any::<u64>(), request()).prop_map(|(id, request)| Command::Launch { id, request }),
        (any::<u64>(), request()).prop_map(|(id, request)| Command::Assign { id, request }),
        any::<u64>().prop_map(|id| Command::Kill { id }),
        any::<u64>().prop_map(|id| Command::Reap { id }),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    let probe = (0..Mechanism::ALL.len(), any::<bool>(), "[ -~]{0,40}").prop_map(|(mechanism, found, text)| Probe {
        mechanism: Mechanism::ALL[mechanism],
        outcome: if found { Ok(text) } else { Err(text) },
    });
    let version = || prop::option::of(prop_oneof![Just(Version::One), Just(Version::Two)]);
    prop_oneof![
        Just(Reply::Done),
        (any::<bool>(), version(), version()).prop_map(|(usage, rank, freezer)| Reply::Launched(GroupFiles {
            usage,
            rank,
            freezer
        })),
        ("[ -~]{0,80}", any::<i32>()).prop_map(|(step, errno)| Reply::Failed { step, errno }),
        (0..TIERS.len(), prop::collection::vec(probe, 0..12))
            .prop_map(|(tier, probes)| Reply::Report(Report { tier: TIERS[tier], probes })),
    ]
}

proptest! {
    #[test]
    fn what_is_said_is_understood(command in command(), reply in reply()) {
        prop_assert_eq!(Command::parse(&command.encode().unwrap()), Ok(command));
        prop_assert_eq!(Reply::parse(&reply.encode().unwrap()), Ok(reply));
    }

    #[test]
    fn a_cut_or_longer_message_is_refused(command in command(), cut in 1_usize..8) {
        let whole = command.encode().unwrap();
        prop_assert_eq!(Command::parse(&whole[..whole.len().saturating_sub(cut)]), Err(Malformed));
        prop_assert_eq!(Command::parse(&[&whole[..], &[0][..]].concat()), Err(Malformed));
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Command::parse(&bytes);
        let _ = Reply::parse(&bytes);
    }

    #[test]
    fn one_flipped_byte_never_panics(command in command(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = command.encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = Command::parse(&bytes);
    }
}

#[test]
fn only_plain_absolute_paths_are_taken() {
    let long = format!("/{}", "x".repeat(PATH_BYTES_MAX));
    for path in ["", "code", "/code/../../etc", "..", "/a\0b", &long] {
        let command = Command::Provide { host: path.into(), inside: "/var/lang".into() };
        assert_eq!(command.encode(), Err(Malformed), "{path:?}");
    }
}

#[test]
fn too_many_ports_are_refused() {
    let request = Request { ports: vec![1; PORTS_MAX + 1], ..Request::default() };
    assert_eq!(Command::Launch { id: 1, request }.encode(), Err(Malformed));
}

#[test]
fn a_long_text_is_shortened_at_a_character() {
    let reply = Reply::Failed { step: "é".repeat(TEXT_BYTES_MAX), errno: 1 };
    let Reply::Failed { step, .. } = Reply::parse(&reply.encode().unwrap()).unwrap() else { panic!("another reply") };
    assert_eq!(step, "é".repeat(TEXT_BYTES_MAX / 2));
}
