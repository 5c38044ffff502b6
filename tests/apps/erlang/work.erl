%% A web server with a process for each connection, whose pages each make Erlang work.
-module(work).
-export([main/0]).

main() ->
    {ok, Listener} = gen_tcp:listen(8000, [binary, {packet, http_bin}, {active, false},
                                           {reuseaddr, true}, {backlog, 100}]),
    accept(Listener).

accept(Listener) ->
    {ok, Client} = gen_tcp:accept(Listener),
    spawn(fun() -> receive go -> answer(Client) end end) ! go,
    accept(Listener).

answer(Client) ->
    case gen_tcp:recv(Client, 0) of
        {ok, {http_request, _, {abs_path, Path}, _}} ->
            headers(Client),
            Body = iolist_to_binary(page(Path)),
            gen_tcp:send(Client, ["HTTP/1.0 200 OK\r\nContent-Length: ",
                                  integer_to_list(byte_size(Body)), "\r\n\r\n", Body]);
        _ -> ok
    end,
    gen_tcp:close(Client).

headers(Client) ->
    case gen_tcp:recv(Client, 0) of
        {ok, {http_header, _, _, _, _}} -> headers(Client);
        _ -> ok
    end.

page(<<"/ring">>) -> integer_to_list(ring(1000, 20000));
page(<<"/links">>) -> io_lib:format("~p", [links()]);
page(<<"/map">>) ->
    Map = maps:from_list([{N, N * N} || N <- lists:seq(1, 20000)]),
    io_lib:format("~b ~b", [maps:size(Map), lists:sum(maps:values(Map))]);
page(<<"/timers">>) -> integer_to_list(timers());
page(<<"/schedulers">>) -> integer_to_list(erlang:system_info(schedulers_online));
page(_) -> "hello from erlang".

%% Messages go round a ring of processes.
ring(Processes, Rounds) ->
    Self = self(),
    First = lists:foldl(fun(_, Next) -> spawn(fun() -> pass(Next) end) end, Self,
                        lists:seq(1, Processes)),
    [First ! N || N <- lists:seq(1, Rounds div 100)],
    Sum = lists:sum([receive N -> N end || N <- lists:seq(1, Rounds div 100)]),
    First ! stop,
    receive stop -> Sum end.

pass(Next) ->
    receive
        stop -> Next ! stop;
        Message -> Next ! Message, pass(Next)
    end.

%% Processes that crash are noticed by the one that traps exits.
links() ->
    process_flag(trap_exit, true),
    logger:set_primary_config(level, none),
    Pids = [spawn_link(fun() -> exit({reason, N}) end) || N <- lists:seq(1, 100)],
    Reasons = [receive {'EXIT', Pid, {reason, N}} -> N end || Pid <- Pids],
    {length(Reasons), lists:sum(Reasons)}.

timers() ->
    Self = self(),
    [erlang:send_after(N rem 20, Self, {timer, N}) || N <- lists:seq(1, 1000)],
    lists:sum([receive {timer, N} -> N end || N <- lists:seq(1, 1000)]).
