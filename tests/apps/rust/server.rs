//! A web server whose pages each make Rust's standard library work.
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::{fs, panic, thread};

fn threads() -> String {
    let (sender, receiver) = mpsc::channel();
    for number in 0..8u64 {
        let sender = sender.clone();
        thread::spawn(move || {
            for value in 0..1000 {
                sender.send(number * 1000 + value).unwrap();
            }
        });
    }
    drop(sender);
    receiver.iter().sum::<u64>().to_string()
}

fn shared_map() -> String {
    let words = Arc::new(Mutex::new(HashMap::new()));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for n in 0..2000 {
                    *words.lock().unwrap().entry(n % 100).or_insert(0) += 1;
                }
            });
        }
    });
    let map = words.lock().unwrap();
    format!("{} {}", map.len(), map.values().sum::<i32>())
}

fn files() -> String {
    fs::create_dir_all("/tmp/rust/a/b").unwrap();
    for n in 0..50 {
        fs::write(format!("/tmp/rust/a/b/{n}"), "x".repeat(n * 100)).unwrap();
    }
    let total: u64 = fs::read_dir("/tmp/rust/a/b").unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
    fs::remove_dir_all("/tmp/rust").unwrap();
    total.to_string()
}

fn caught_panic() -> String {
    let outcome = thread::spawn(|| { panic::panic_any(42i32) }).join();
    outcome.unwrap_err().downcast_ref::<i32>().unwrap().to_string()
}

fn answer(stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let body = match request.split(' ').nth(1).unwrap_or("") {
        "/threads" => threads(),
        "/map" => shared_map(),
        "/files" => files(),
        "/panic" => caught_panic(),
        _ => "hello from rust".to_string(),
    };
    let mut stream = stream;
    write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{}", body.len(), body)
}

fn main() {
    let listener = TcpListener::bind("0.0.0.0:8000").unwrap();
    for stream in listener.incoming() {
        thread::spawn(move || answer(stream.unwrap()));
    }
}
