use std::io::{Cursor, Write};

use zip::{ZipWriter, write::SimpleFileOptions};

use super::*;

/// An entry: name, contents, Unix mode with type (0: as the writer does it).
type Entry<'a> = (&'a str, &'a [u8], u32);

/// A zip written by hand, for entries that no writer would make: stored, with whatever names and modes are given.
fn raw(entries: &[Entry<'_>]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, contents, mode) in entries {
        let offset = out.len() as u32;
        let crc = crc32(contents);
        let mut common = Vec::new();
        common.extend_from_slice(&[20, 0, 0, 8, 0, 0, 0, 0, 0x21, 0]);
        common.extend_from_slice(&crc.to_le_bytes());
        common.extend_from_slice(&(contents.len() as u32).to_le_bytes());
        common.extend_from_slice(&(contents.len() as u32).to_le_bytes());
        common.extend_from_slice(&(name.len() as u16).to_le_bytes());
        common.extend_from_slice(&[0, 0]);
        out.extend_from_slice(b"PK\x03\x04");
        out.extend_from_slice(&common);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(contents);
        directory.extend_from_slice(b"PK\x01\x02\x14\x03");
        directory.extend_from_slice(&common);
        directory.extend_from_slice(&[0; 6]);
        directory.extend_from_slice(&(mode << 16).to_le_bytes());
        directory.extend_from_slice(&offset.to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
    }
    let start = out.len() as u32;
    out.extend_from_slice(&directory);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    out.extend_from_slice(&(entries.len() as u16).to_le_bytes());
    out.extend_from_slice(&(entries.len() as u16).to_le_bytes());
    out.extend_from_slice(&(directory.len() as u32).to_le_bytes());
    out.extend_from_slice(&start.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

fn unpacked(zip: &[u8]) -> Result<(tempfile::TempDir, PathBuf), PackageError> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("function.zip");
    fs::write(&file, zip).unwrap();
    let tree = unpack(&file, &directory.path().join("code"))?;
    Ok((directory, tree))
}

const FILE: u32 = 0o100_644;
const LINK: u32 = 0o120_777;

#[test]
fn a_package_is_unpacked_under_its_hash() {
    let zip = raw(&[
        ("index.js", b"exports.handler = 1", FILE),
        ("bin/tool", b"#!/bin/sh", 0o104_777),
        ("lib/", b"", 0o040_700),
        ("lib/a.so.1", b"elf", 0o100_600),
        ("lib/a.so", b"a.so.1", LINK),
        ("node_modules/.bin/x", b"../x/cli.js", LINK),
        ("node_modules/x/cli.js", b"cli", 0),
    ]);
    let inspected = inspect(&zip).unwrap();
    let (directory, tree) = unpacked(&zip).unwrap();
    assert_eq!(tree, directory.path().join("code").join(&inspected.sha256_hex));
    assert_eq!(inspected.size, zip.len() as u64);
    assert_eq!(fs::read(tree.join("lib/a.so")).unwrap(), b"elf");
    assert_eq!(fs::read(tree.join("node_modules/.bin/x")).unwrap(), b"cli");
    let mode = |name: &str| fs::metadata(tree.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("bin/tool"), mode("lib/a.so.1"), mode("lib")), (0o755, 0o644, 0o755));
    // A second time changes nothing.
    assert_eq!(unpack(&directory.path().join("function.zip"), &directory.path().join("code")).unwrap(), tree);
}

#[test]
fn hostile_entries_are_refused_whole() {
    let long = "x".repeat(PATH_BYTES_MAX + 1);
    let deep = "d/".repeat(DEPTH_MAX) + "f";
    let cases: &[(&str, Vec<Entry<'_>>)] = &[
        ("slip", vec![("a.js", b"", FILE), ("../evil", b"x", FILE)]),
        ("slip inside", vec![("a/../../evil", b"x", FILE)]),
        ("absolute", vec![("/etc/evil", b"x", FILE)]),
        ("backslash", vec![("..\\evil", b"x", FILE)]),
        ("NUL", vec![("a\0b", b"x", FILE)]),
        ("too long", vec![(&long, b"x", FILE)]),
        ("too deep", vec![(&deep, b"x", FILE)]),
        ("absolute link", vec![("l", b"/etc", LINK)]),
        ("link out", vec![("a/l", b"../../etc", LINK)]),
        ("link out through a link", vec![("d/x", b"", FILE), ("a/b/l", b"../../d", LINK), ("m", b"a/b/l/../..", LINK)]),
        ("empty link", vec![("l", b"", LINK)]),
        ("write through a link", vec![("l", b"d", LINK), ("d/x", b"", FILE), ("l/y", b"x", FILE)]),
        ("device", vec![("dev", b"", 0o020_666)]),
        ("block device", vec![("dev", b"", 0o060_666)]),
        ("fifo", vec![("fifo", b"", 0o010_666)]),
        ("socket", vec![("sock", b"", 0o140_666)]),
        ("same name", vec![("a", b"1", FILE), ("a", b"2", FILE)]),
        ("same name, written otherwise", vec![("a", b"1", FILE), ("./a", b"2", FILE)]),
        ("file and directory", vec![("a", b"1", FILE), ("a/b", b"2", FILE)]),
        ("directory and file", vec![("a/b", b"2", FILE), ("a", b"1", FILE)]),
        ("directory with contents", vec![("a/", b"x", 0o040_755)]),
    ];
    for (what, entries) in cases {
        let zip = raw(entries);
        let error = inspect(&zip).expect_err(what);
        assert!(matches!(error, PackageError::Malformed(_)), "{what}: {error:?}");
        assert_eq!(
            error.to_string(),
            "Could not unzip uploaded file. Please check your file, then try to upload again."
        );
        assert!(unpacked(&zip).is_err(), "{what}");
    }
}

#[test]
fn what_is_not_a_zip_is_refused() {
    let whole = raw(&[("index.js", b"exports.handler = 1", FILE)]);
    for bytes in [&b""[..], b"hello", &whole[..whole.len() - 30], &whole[20..]] {
        assert!(matches!(inspect(bytes), Err(PackageError::Malformed(_))));
    }
    let mut damaged = whole.clone();
    damaged[40] ^= 1;
    assert!(inspect(&damaged).is_err(), "a wrong checksum");
    assert!(matches!(inspect(&raw(&[])), Err(PackageError::Empty)));
}

#[test]
fn entries_that_share_bytes_are_refused() {
    let one = raw(&[("a", b"contents", FILE), ("b", b"contents", FILE)]);
    // Points the second entry of the directory at the first one's data.
    let mut overlapping = one.clone();
    let second = one.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    overlapping[second + 42..second + 46].fill(0);
    assert!(matches!(inspect(&overlapping), Err(PackageError::Malformed(_))));
}

fn deflated(files: impl Iterator<Item = (String, u64)>) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default();
    let zeros = vec![0u8; 1024 * 1024];
    for (name, megabytes) in files {
        writer.start_file(name, options).unwrap();
        (0..megabytes).for_each(|_| writer.write_all(&zeros).unwrap());
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn a_bomb_is_refused_by_what_it_inflates_to() {
    let bomb = deflated((0..3).map(|number| (number.to_string(), 100)));
    assert!(bomb.len() < 1024 * 1024);
    let error = inspect(&bomb).unwrap_err();
    assert!(matches!(error, PackageError::TooLarge));
    assert_eq!(error.to_string(), "Unzipped size must be smaller than 262144000 bytes");
    // Headers that lie about the size change nothing.
    let mut lying = bomb.clone();
    let mut at = 0;
    while let Some(found) = lying[at..].windows(4).position(|window| window == b"PK\x01\x02") {
        lying[at + found + 24..at + found + 28].copy_from_slice(&1u32.to_le_bytes());
        at += found + 4;
    }
    assert!(inspect(&lying).is_err());
}

#[test]
fn too_many_entries_are_refused() {
    let many = deflated((0..=ENTRIES_MAX).map(|number| (number.to_string(), 0)));
    assert!(matches!(inspect(&many), Err(PackageError::Malformed(_))));
}

proptest::proptest! {
    #[test]
    fn damaged_zips_never_panic(at in 0usize..400, byte: u8) {
        let code = b"exports.handler = 1";
        let mut zip = raw(&[("index.js", code, FILE), ("d/", b"", 0o040_755), ("l", b"index.js", LINK)]);
        let at = at % zip.len();
        zip[at] = byte;
        let _ = inspect(&zip);
    }
}
