//! The head of a request.

/// Longest head, bytes: a runtime may put a mebibyte of trace into one header.
pub(crate) const HEAD_BYTES_MAX: usize = 1024 * 1024 + 64 * 1024;
/// Most header fields in one head.
const FIELDS_MAX: usize = 64;

/// How the body of a request is told from what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// This many bytes.
    Exact(u64),
    /// In chunks that tell their own.
    Chunked,
}

/// What is used of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) length: Length,
    /// Whether the connection may carry another request.
    pub(crate) keeps: bool,
    /// Whether the body is held back until it is asked for.
    pub(crate) expects: bool,
    pub(crate) content_type: Option<String>,
    pub(crate) error_type: Option<String>,
    pub(crate) response_mode: Option<String>,
}

/// A request that cannot be understood; the connection is of no further use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

#[cfg(any(test, feature = "fuzzing"))]
thread_local! {
    /// How many bytes this thread has searched for an end, for tests of what hostile input costs.
    pub(crate) static LOOKED_AT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Notes what a search cost.
fn looked_at(_bytes: usize) {
    #[cfg(any(test, feature = "fuzzing"))]
    LOOKED_AT.set(LOOKED_AT.get().saturating_add(_bytes));
}

/// Where the line at the start of `buffer` ends, behind its line feed; `searched` as for [`end`].
pub(crate) fn line_end(buffer: &[u8], searched: usize) -> Option<usize> {
    let rest = buffer.get(searched..)?;
    let found = rest.iter().position(|byte| *byte == b'\n').map(|at| at.saturating_add(1));
    looked_at(found.unwrap_or(rest.len()));
    found.map(|end| searched.saturating_add(end))
}

/// Where a head at the start of `buffer` ends. `searched`: how much of it has been looked through before without
/// finding an end, so that a head that trickles in is not searched from its start each time.
pub(crate) fn end(buffer: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(3);
    let rest = buffer.get(from..)?;
    let found = empty_line(rest);
    looked_at(found.unwrap_or(rest.len()));
    found.map(|end| from.saturating_add(end))
}

/// Where the first empty line behind another ends.
fn empty_line(rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = rest.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n')) {
        let next = at.saturating_add(found).saturating_add(1);
        let after = rest.get(next..).unwrap_or_default();
        for end in [&b"\n"[..], b"\r\n"] {
            if after.starts_with(end) {
                return Some(next.saturating_add(end.len()));
            }
        }
        at = next;
    }
    None
}

/// Reads a head whose end has been found.
///
/// # Errors
/// [`Malformed`] for what is not HTTP/1, has more than 64 fields or contradicts itself about its length.
pub(crate) fn parse(bytes: &[u8]) -> Result<Head, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    if !matches!(request.parse(bytes), Ok(httparse::Status::Complete(_))) {
        return Err(Malformed);
    }
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(Malformed);
    };
    // A proxy's form names scheme and host first; a query means nothing here.
    let path = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => target,
    };
    let mut head = Head {
        method: method.to_owned(),
        path: path.split('?').next().unwrap_or_default().to_owned(),
        length: Length::Exact(0),
        keeps: version == 1,
        expects: false,
        content_type: None,
        error_type: None,
        response_mode: None,
    };
    let (mut exact, mut chunked) = (None, false);
    for field in request.headers.iter() {
        let value = std::str::from_utf8(field.value).map(str::trim);
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            let value = value.ok().filter(|value| value.bytes().all(|byte| byte.is_ascii_digit())).ok_or(Malformed)?;
            let value: u64 = value.parse().map_err(|_| Malformed)?;
            if exact.replace(value).is_some_and(|before| before != value) {
                return Err(Malformed);
            }
        } else if is("transfer-encoding") {
            if !value.is_ok_and(|value| value.eq_ignore_ascii_case("chunked")) || chunked {
                return Err(Malformed);
            }
            chunked = true;
        } else if is("connection") {
            for word in value.unwrap_or_default().split(',') {
                match word.trim() {
                    word if word.eq_ignore_ascii_case("close") => head.keeps = false,
                    word if word.eq_ignore_ascii_case("keep-alive") => head.keeps = true,
                    _ => {}
                }
            }
        } else if is("expect") {
            head.expects = value.is_ok_and(|value| value.eq_ignore_ascii_case("100-continue"));
        } else if is("content-type") {
            head.content_type = value.ok().map(str::to_owned);
        } else if is("lambda-runtime-function-error-type") {
            head.error_type = value.ok().map(str::to_owned);
        } else if is("lambda-runtime-function-response-mode") {
            head.response_mode = Some(value.map_err(|_| Malformed)?.to_owned());
        }
    }
    head.length = match (chunked, exact) {
        (true, Some(_)) => return Err(Malformed),
        (true, None) => Length::Chunked,
        (false, exact) => Length::Exact(exact.unwrap_or(0)),
    };
    Ok(head)
}
