//! HTTP as the tests speak it: one request per connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A reply.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    /// Returns the value of a header; `None` if there is none.
    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Sends a request with its length.
pub fn send(server: SocketAddr, method: &str, target: &str, body: &[u8]) -> io::Result<Response> {
    let length = if method == "POST" { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
    exchange(
        server,
        &format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{length}\r\n"),
        body,
    )
}

/// Sends a request as it is, and reads the reply to the end of the connection.
pub fn exchange(server: SocketAddr, head: &str, body: &[u8]) -> io::Result<Response> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    let text = String::from_utf8_lossy(&reply);
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, format!("not a reply: {text:?}"));
    let end = reply.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or_else(invalid)?;
    let head = String::from_utf8_lossy(&reply[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(invalid)?;
    let mut response = Response { status, head, body: reply[end + 4..].to_vec() };
    // Apache does not trust the length that a program sends.
    if response.header("Transfer-Encoding") == Some("chunked") {
        response.body = joined(&response.body).ok_or_else(invalid)?;
    }
    Ok(response)
}

/// Joins the chunks of a body; `None` if one is incomplete.
fn joined(mut chunks: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = chunks.windows(2).position(|bytes| bytes == b"\r\n")?;
        let length = usize::from_str_radix(str::from_utf8(&chunks[..end]).ok()?, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend(chunks.get(end + 2..end + 2 + length)?);
        chunks = chunks.get(end + 4 + length..)?;
    }
}
