//! Replies that are too large or never end.

use super::*;

#[test]
fn a_body_is_bounded_and_of_other_content_only_the_start_is_kept() {
    let body = |length: usize| [&b"CXN-0.2-AES-CBC-HMAC\x01"[..], &vec![b'x'; length - 21]].concat();
    let limit = 1024 * 1024;
    let whole = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), body(limit)].concat();
    assert_eq!(post(&client(LONG), &format!("http://{}/", answer(whole))).unwrap().len(), limit);

    // Of what cannot be a message, the start is returned.
    let page = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; limit]].concat();
    assert_eq!(post(&client(LONG), &format!("http://{}/", answer(page))).unwrap(), [b'x'; 16 * 1024]);

    let endless = |head: &'static str| {
        serve(move |mut stream| {
            request(&stream);
            let _ = stream.write_all(head.as_bytes());
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
        })
    };
    for (address, expected) in [
        (answer([b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), body(limit + 1)].concat()), "body of more than 1048576 bytes"),
        // Only announced, not sent.
        (answer("HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n"), "body of more than 1048576 bytes"),
        (answer(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", u64::MAX)), "body of more than 1048576 bytes"),
        (endless("HTTP/1.1 200 OK\r\n\r\nCXN-0.2-AES-CBC-HMAC\x01"), "body of more than 1048576 bytes"),
        (endless("HTTP/1.1 200 OK\r\n\r\n"), "body of more than 1048576 bytes"),
        (endless("HTTP/1.1 200 OK\r\nX: "), "header of more than 65536 bytes"),
    ] {
        assert_eq!(failure(LONG, address), format!("too-large: {expected}"));
    }
}

#[test]
fn endless_replies_are_cut_off() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (start, piece, expected) in [
        ("", "HTTP/1.1 100 Continue\r\n\r\n", "too-large: header of more than 65536 bytes"),
        ("", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", "too-large: header of more than 65536 bytes"),
        ("", "\r\n", "too-large: header of more than 65536 bytes"),
        ("HTTP/1.1 200 ", "x", "too-large: header of more than 65536 bytes"),
        ("HTTP/1.1 200 OK\r\n", "X: y\r\n", "too-large: header of more than 65536 bytes"),
        (&format!("{CHUNKED}5;"), "x", "too-large: reply of more than 4194304 bytes"),
        (CHUNKED, "0", "too-large: reply of more than 4194304 bytes"),
        (CHUNKED, "1\r\nx\r\n", "too-large: reply of more than 4194304 bytes"),
        ("", "x", "garbled: not HTTP: xxx"),
    ] {
        let (start, piece) = (start.to_owned(), piece.repeat(100));
        let address = serve(move |mut stream| {
            request(&stream);
            let _ = stream.write_all(start.as_bytes());
            while stream.write_all(piece.as_bytes()).is_ok() {}
        });
        let failure = failure(LONG, address);
        assert!(failure.starts_with(expected), "{failure}");
    }
}
