(* A web server with a thread for each connection, whose pages each make OCaml work. *)
module Ints = Map.Make (Int)

let trees () =
  let rec build map n =
    if n = 0 then map else build (Ints.add (n * 7919 mod 100003) n map) (n - 1) in
  let map = build Ints.empty 50000 in
  Printf.sprintf "%d %d" (Ints.cardinal map) (Ints.fold (fun _ value sum -> sum + value) map 0)

let threads () =
  let mutex = Mutex.create () and sum = ref 0 in
  let work number =
    for value = 1 to 1000 do
      Mutex.lock mutex;
      sum := !sum + value * number;
      Mutex.unlock mutex;
      if value mod 100 = 0 then Thread.yield ()
    done in
  List.init 8 (fun number -> Thread.create work number) |> List.iter Thread.join;
  string_of_int !sum

let garbage () =
  let live = Array.make 100 [] in
  for n = 1 to 2_000_000 do
    let slot = n mod 100 in
    live.(slot) <- (if n / 100 mod 100 = 0 then [] else n :: live.(slot))
  done;
  Gc.compact ();
  string_of_bool ((Gc.stat ()).Gc.major_collections > 1)

let rec deep n = if n = 0 then 0 else 1 + deep (n - 1)

let overflow () =
  match deep 100_000_000 with
  | exception Stack_overflow -> "caught"
  | _ -> "none"

let body = function
  | "/trees" -> trees ()
  | "/threads" -> threads ()
  | "/garbage" -> garbage ()
  | "/overflow" -> overflow ()
  | _ -> "hello from ocaml"

let answer (client, _) =
  (try
     let input = Unix.in_channel_of_descr client in
     let path = match String.split_on_char ' ' (input_line input) with
       | _ :: path :: _ -> path
       | _ -> "/" in
     while String.length (input_line input) > 1 do () done;
     let text = body path in
     let reply =
       Printf.sprintf "HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" (String.length text) text in
     ignore (Unix.write_substring client reply 0 (String.length reply))
   with End_of_file | Unix.Unix_error _ -> ());
  Unix.close client

let () =
  let listener = Unix.socket Unix.PF_INET Unix.SOCK_STREAM 0 in
  Unix.setsockopt listener Unix.SO_REUSEADDR true;
  Unix.bind listener (Unix.ADDR_INET (Unix.inet_addr_any, 8000));
  Unix.listen listener 100;
  print_endline (overflow ());
  while true do
    ignore (Thread.create answer (Unix.accept listener))
  done
