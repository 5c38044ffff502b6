<?php
// Pages that each make PHP work.

function sorted(): string {
    $numbers = [];
    for ($n = 0; $n < 50000; ++$n) $numbers[] = $n * 7919 % 50021;
    sort($numbers);
    return count($numbers) . ' ' . $numbers[100] . ' ' . md5(implode(',', $numbers));
}

function files(): string {
    $handle = tmpfile();
    for ($n = 0; $n < 1000; ++$n) fwrite($handle, "line $n\n");
    rewind($handle);
    $lines = 0;
    while (fgets($handle) !== false) ++$lines;
    return (string)$lines;
}

function words(): string {
    preg_match_all('/\bw(\d+)\b/', implode(' ', array_map(fn($n) => "w$n", range(1, 5000))), $found);
    return json_encode(['sum' => array_sum($found[1])]);
}

function generated(): string {
    $squares = (function () { for ($n = 1; $n <= 1000; ++$n) yield $n * $n; })();
    return (string)array_sum(iterator_to_array($squares));
}

function processes(): string {
    $pipes = [];
    $process = proc_open(['tr', 'a-z', 'A-Z'], [['pipe', 'r'], ['pipe', 'w']], $pipes);
    fwrite($pipes[0], 'through tr');
    fclose($pipes[0]);
    $text = stream_get_contents($pipes[1]);
    fclose($pipes[1]);
    exec('echo one; echo two; exit 5', $lines, $status);
    return $text . ' ' . proc_close($process) . ' ' . count($lines) . ' ' . $status;
}

echo match (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH)) {
    '/sorted' => sorted(),
    '/files' => files(),
    '/words' => words(),
    '/processes' => processes(),
    '/generated' => generated(),
    default => 'hello from php',
};
