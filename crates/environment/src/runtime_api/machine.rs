//! Which request a runtime may make when.

use super::{Reply, head::Head};

const PREFIX: &str = "/2018-06-01/runtime/";

/// Where a runtime is between start and answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Started,
    InitError,
    Ready,
    Running,
    Response,
    ErrorResponse,
    Sent,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Started => "Started",
            State::InitError => "InitError",
            State::Ready => "Ready",
            State::Running => "Running",
            State::Response => "InvocationResponse",
            State::ErrorResponse => "InvocationErrorResponse",
            State::Sent => "ResponseSent",
        }
    }
}

/// What a request asks for, once it has been found allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// The next event.
    Next,
    /// The body is the result.
    Response {
        /// It is to be handed on while it comes.
        streams: bool,
    },
    /// The body is the error document.
    Error,
    /// The body is the error document of a failed start.
    InitError,
    Ping,
}

/// The states of one runtime. INVARIANT: there is a current request exactly while an event has been delivered and its
/// answer is not complete.
#[derive(Debug)]
pub(crate) struct Machine {
    state: State,
    current: Option<String>,
}

impl Machine {
    pub(crate) fn new() -> Machine {
        Machine { state: State::Started, current: None }
    }

    /// Whether the runtime has asked for an event and not got one.
    #[cfg(test)]
    pub(crate) fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// Decides about a request by its head alone.
    ///
    /// # Errors
    /// The answer that refuses it; nothing has changed then.
    pub(crate) fn route(&mut self, head: &Head) -> Result<Route, Reply> {
        if head.path == "/2018-06-01/ping" || head.path == "/ping" {
            return if head.method == "GET" { Ok(Route::Ping) } else { Err(Reply::method_not_allowed()) };
        }
        let Some(path) = head.path.strip_prefix(PREFIX) else { return Err(Reply::not_found()) };
        let (method, wanted) = match path {
            "invocation/next" => ("GET", None),
            "init/error" => ("POST", None),
            _ => match path.strip_prefix("invocation/").and_then(|rest| rest.split_once('/')) {
                Some((id, action @ ("response" | "error"))) => ("POST", Some((id, action))),
                _ => return Err(Reply::not_found()),
            },
        };
        if head.method != method {
            return Err(Reply::method_not_allowed());
        }
        match (path, wanted) {
            (_, Some((id, action))) => self.answer(id, action == "response", head),
            ("init/error", None) => {
                self.change(State::InitError, &[State::Started])?;
                Ok(Route::InitError)
            }
            _ => {
                self.change(State::Ready, &[State::Started, State::Ready, State::Sent])?;
                Ok(Route::Next)
            }
        }
    }

    fn answer(&mut self, id: &str, response: bool, head: &Head) -> Result<Route, Reply> {
        if self.current.as_deref() != Some(id) {
            return Err(Reply::invalid_request_id());
        }
        if !response {
            self.change(State::ErrorResponse, &[State::Running])?;
            return Ok(Route::Error);
        }
        let streams = match head.response_mode.as_deref() {
            None => false,
            Some(mode) if mode.eq_ignore_ascii_case("streaming") => true,
            Some(_) => return Err(Reply::invalid_response_mode()),
        };
        self.change(State::Response, &[State::Running])?;
        Ok(Route::Response { streams })
    }

    fn change(&mut self, to: State, from: &[State]) -> Result<(), Reply> {
        if !from.contains(&self.state) {
            return Err(Reply::invalid_transition(self.state.name(), to.name()));
        }
        self.state = to;
        Ok(())
    }

    /// An event has been handed to the runtime, which had asked for it.
    pub(crate) fn delivered(&mut self, id: &str) {
        debug_assert_eq!(self.state, State::Ready, "nobody has asked for an event");
        self.state = State::Running;
        self.current = Some(id.to_owned());
    }

    /// An event could not be handed over after all.
    pub(crate) fn returned(&mut self) {
        self.state = State::Ready;
        self.current = None;
    }

    /// The body of an answer is complete.
    pub(crate) fn answered(&mut self) {
        if self.state != State::InitError {
            self.state = State::Sent;
        }
        self.current = None;
    }

    /// The body of an answer broke off: it counts as not begun.
    pub(crate) fn broke_off(&mut self) {
        match self.state {
            State::Response | State::ErrorResponse => self.state = State::Running,
            State::InitError => self.state = State::Started,
            _ => {}
        }
    }
}
