use std::fs;

use super::*;
use crate::options::DeprecatedRuntimes;

fn installed(node: Option<PathBuf>, python: Option<PathBuf>) -> Installed {
    Installed {
        node: node.map(|path| Interpreter { path, version: (20, 1) }),
        python: python.map(|path| Interpreter { path, version: (3, 11) }),
        deprecated: DeprecatedRuntimes::Accept,
        newer: false,
    }
}

fn file(path: PathBuf) -> PathBuf {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "").unwrap();
    path
}

#[test]
fn an_interpreter_brings_its_installation_and_nothing_else() {
    let host = tempfile::tempdir().unwrap();
    let host = host.path().canonicalize().unwrap();
    let python = file(host.join("python/bin/python3.11"));
    file(host.join("python/lib/python3.11/os.py"));
    let node = file(host.join("node/bin/node"));
    // Beside this one lies something, but not Node's.
    file(host.join("node/lib/node_modules/x"));
    let places = Places::of(&installed(Some(node.clone()), Some(python)));
    assert_eq!(
        places.binds,
        [(host.join("python"), PathBuf::from("/var/lang")), (node.clone(), PathBuf::from("/var/lang-node/bin/node")),]
    );
    assert_eq!(places.program(Family::Python), Some(Path::new("/var/lang/bin/python3.11")));
    assert_eq!(places.program(Family::Node), Some(Path::new("/var/lang-node/bin/node")));

    file(host.join("node/include/node/node.h"));
    let places = Places::of(&installed(Some(node), None));
    assert_eq!(places.binds, [(host.join("node"), PathBuf::from("/var/lang"))]);
    assert_eq!(places.program(Family::Node), Some(Path::new("/var/lang/bin/node")));
    let in_place = Places::in_place(&installed(Some(host.join("node/bin/node")), None));
    assert_eq!(in_place.binds, [(host.join("node"), host.join("node"))]);
    assert_eq!(in_place.program(Family::Node), None);
}

#[test]
fn an_interpreter_that_cannot_be_shown_is_refused_with_the_reason_and_no_other() {
    let host = tempfile::tempdir().unwrap();
    let host = host.path().canonicalize().unwrap();
    let (hidden, shown) = (file(host.join("hidden/python")), file(host.join("shown/node")));
    let places = Places { unseen: vec![(hidden.clone(), "closed".to_owned())], ..Places::default() };
    let refusal = |path| places.refusal(&Interpreter { path, version: (1, 0) });
    assert!(refusal(hidden).unwrap().contains("cannot be used by functions on this server: closed. Start"));
    assert_eq!(refusal(shown), None);
}

#[test]
fn limits_follow_the_memory() {
    let of = |memory_mb, code: Option<&str>| {
        let request = request(&Spec { memory_mb, code: code.map(PathBuf::from), ..Spec::default() });
        (request.memory_bytes / MIB, request.cpu_millis, request.cpu_weight)
    };
    for (memory_mb, code, expected) in [
        (128, Some("/code"), (128, 1_000, 7)),
        (1_769, Some("/code"), (1_769, 1_000, 100)),
        (1_770, Some("/code"), (1_770, 2_000, 100)),
        (10_240, Some("/code"), (10_240, 6_000, 578)),
        (128, None, (128, 1_000, 1)),
    ] {
        assert_eq!(of(memory_mb, code), expected);
    }
}

#[test]
fn the_most_memory_a_function_had_leaves_out_what_was_in_tmp() {
    const LIMIT: u64 = 100;
    // In the order of looking: (anonymous, shared, peak of both together), and what is told.
    let looks = [
        ((10, 0, 20), 20),
        ((10, 500, 520), 20),
        ((60, 0, 540), 60),
        ((10, 0, 560), 60),
        // More came and went than was seen.
        ((10, 0, 900), 100),
        ((u64::MAX, 0, 0), 100),
    ];
    let seen = Seen::default();
    for ((anonymous, shared, whole), told) in looks {
        assert_eq!(seen.peak(InUse { anonymous, shared }, whole, LIMIT), told, "{anonymous} {shared} {whole}");
    }
}
