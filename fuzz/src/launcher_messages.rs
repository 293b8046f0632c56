//! Messages between server and launcher: one meaning, one way to write it, no paths that lead elsewhere.
//!
//! Input: one message.

use sandbox::fuzzing::{LAUNCHER_BYTES_MAX, command, paths, reply};

/// What reads a message; see [`command`].
type Reads = fn(&[u8]) -> Option<Option<Vec<u8>>>;

/// Checks one input.
pub fn check(input: &[u8]) {
    assert!(command(input).is_none() || reply(input).is_none(), "a request is no reply");
    for reads in [command as Reads, reply] {
        let Some(again) = reads(input) else { continue };
        assert!(input.len() <= LAUNCHER_BYTES_MAX);
        assert_eq!(again.as_deref(), Some(input), "what was read is written in another way");
        for end in 0..input.len() {
            assert_eq!(reads(&input[..end]), None, "cut after {end} bytes, it still is a message");
        }
        assert_eq!(reads(&[input, &[0]].concat()), None);
        let long = [input, &vec![0; LAUNCHER_BYTES_MAX]].concat();
        assert_eq!(reads(&long), None);
    }
    for path in paths(input) {
        let bytes = path.as_os_str().as_encoded_bytes();
        let parts: Vec<&[u8]> = bytes.split(|byte| *byte == b'/').collect();
        assert!(parts.len() > 1 && parts[0].is_empty(), "{path:?} depends on where the launcher is");
        assert!(!parts.contains(&&b".."[..]), "{path:?} climbs");
        assert!(!bytes.contains(&0) && bytes.len() < 4_096, "the kernel reads {path:?} otherwise");
    }
}
