//! What runs in a sandbox, on its way there: what is read is written alike, and what can be written is read alike.
//!
//! Input: what comes behind the length; and the same as text, cut at the byte `0xFF`, for parts of one that is made:
//! program, directory, then by turns an argument, a name and a value.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf};

use sandbox::{EXEC_BYTES_MAX, Exec, fuzzing};

/// Checks one input.
pub fn check(input: &[u8]) {
    let input = input.get(..crate::INPUT_BYTES_MAX).unwrap_or(input);
    hostile(input);
    honest(input);
}

fn with_length(rest: &[u8]) -> Vec<u8> {
    [&u32::try_from(rest.len()).expect("a short input").to_le_bytes()[..], rest].concat()
}

fn hostile(rest: &[u8]) {
    let sent = with_length(rest);
    assert_eq!(fuzzing::exec(rest).is_some(), fuzzing::exec(rest).is_some_and(|exec| is_plain(&exec)));
    let Some(exec) = fuzzing::exec(&sent) else { return };
    assert!(is_plain(&exec));
    assert_eq!(fuzzing::written(&exec).as_deref(), Some(&sent[..]), "what was read is written in another way");
    for end in 0..rest.len() {
        assert!(fuzzing::exec(&with_length(&rest[..end])).is_none(), "cut after {end} bytes, it can be run");
        assert!(fuzzing::exec(&sent[..end]).is_none());
    }
    assert!(fuzzing::exec(&with_length(&[rest, &[0]].concat())).is_none());
    assert!(fuzzing::exec(&[&sent[..], &[0]].concat()).is_none());
}

/// Nothing in it ends before its end, and every variable has a name.
fn is_plain(exec: &Exec) -> bool {
    let texts = exec.environment.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
    let arguments = exec.arguments.iter().map(|argument| argument.as_encoded_bytes());
    let paths = [&exec.program, &exec.directory].map(|path| path.as_os_str().as_encoded_bytes());
    let whole = texts.chain(arguments).chain(paths).all(|part| !part.contains(&0));
    whole && exec.environment.iter().all(|(name, _)| !name.is_empty() && !name.contains('='))
}

fn honest(input: &[u8]) {
    let mut parts = input.split(|byte| *byte == 0xFF).map(<[u8]>::to_vec);
    let mut path = || PathBuf::from(OsString::from_vec(parts.next().unwrap_or_default()));
    let mut exec = Exec { program: path(), directory: path(), arguments: Vec::new(), environment: Vec::new() };
    while let Some(argument) = parts.next() {
        exec.arguments.push(OsString::from_vec(argument));
        let mut text = || Some(String::from_utf8_lossy(&parts.next()?).into_owned());
        let Some(name) = text() else { break };
        exec.environment.push((name, text().unwrap_or_default()));
    }
    let many = exec.arguments.len().max(exec.environment.len()) > 4_096;
    match fuzzing::written(&exec) {
        Some(sent) => {
            assert!(sent.len() <= EXEC_BYTES_MAX && is_plain(&exec) && !many);
            assert!(fuzzing::exec(&sent) == Some(exec), "another program would run");
        }
        // An input is far from too long for one.
        None => assert!(!is_plain(&exec) || many),
    }
}
