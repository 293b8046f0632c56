//! Calls of the host by number, for what no library offers to do.

use std::{ffi::CString, io, path::Path};

/// Makes a call. Pointers among the arguments are made by [`text`] and [`room`], and live through it.
#[expect(unsafe_code, reason = "calls that no library offers, because nobody should make them")]
pub fn call(number: libc::c_long, arguments: &[usize]) -> io::Result<String> {
    let at = |place: usize| arguments.get(place).copied().unwrap_or_default();
    // SAFETY: none of the calls tried here writes through a pointer that is not to room of its own ([`room`]); and
    // should one go through that was to be denied, the process ends at once with the news.
    let answer = unsafe { libc::syscall(number, at(0), at(1), at(2), at(3), at(4), at(5)) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(format!("call {number} answered {answer}")) }
}

/// A path or name as the host takes it. Kept for the rest of this short-lived process.
pub fn text(text: &str) -> usize {
    CString::new(text).unwrap().into_raw() as usize
}

/// Zeroed memory for the host to read or write. Kept for the rest of this short-lived process.
pub fn room(bytes: usize) -> usize {
    Vec::leak(vec![0_u64; bytes.div_ceil(8)]).as_mut_ptr() as usize
}

/// Memory that begins with these numbers.
pub fn numbers(numbers: &[u64]) -> usize {
    Vec::leak([numbers, &[0; 32]].concat()).as_mut_ptr() as usize
}

/// This directory for the `*at` calls.
pub const HERE: usize = libc::AT_FDCWD as isize as usize;

/// The error of a denial that the host gives no number for.
pub fn nothing() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOENT)
}

/// What lies in a directory; nothing is a denial.
pub fn listed(directory: impl AsRef<Path>) -> io::Result<String> {
    let names: Vec<_> = std::fs::read_dir(directory)?.flatten().map(|entry| entry.file_name()).collect();
    if names.is_empty() { Err(nothing()) } else { Ok(format!("{names:?}")) }
}

/// What is in a file; nothing is a denial.
pub fn told(file: impl AsRef<Path>) -> io::Result<String> {
    let text = std::fs::read(file)?;
    if text.is_empty() {
        Err(nothing())
    } else {
        Ok(String::from_utf8_lossy(&text[..text.len().min(200)]).into_owned())
    }
}

/// Writes a file that exists already, or makes one.
pub fn written(file: impl AsRef<Path>) -> io::Result<String> {
    use std::io::Write;
    let file = file.as_ref();
    std::fs::OpenOptions::new().write(true).open(file)?.write_all(b"1")?;
    Ok(format!("wrote {}", file.display()))
}

/// Makes a new file in a directory.
pub fn made(directory: &str) -> io::Result<String> {
    std::fs::write(Path::new(directory).join("new"), "x").map(|()| format!("made a file in {directory}"))
}

/// A place in the function's own directory: `/tmp`, or what stands for it.
pub fn tmp(name: &str) -> String {
    let directory = given("TMPDIR");
    format!("{}/{name}", if directory.is_empty() { "/tmp" } else { &directory })
}

/// Where the function's code is seen, and in this suite its bootstraps too: `inside` unless nothing can be mounted.
pub fn code(inside: &str) -> String {
    let place = given("CODE");
    if place.is_empty() { inside.to_owned() } else { place }
}

/// A variable of the environment that the host side set.
pub fn given(name: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "a program inside a sandbox reads what it was started with")]
    std::env::var(name).unwrap_or_default()
}
