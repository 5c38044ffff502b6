# A web server in one thread with select, whose pages each make Perl work.
use strict;
use warnings;
use threads;
use Digest::SHA qw(sha256_hex);
use IO::Select;
use IO::Socket::INET;
use POSIX qw(floor);

sub ithreads {
  my @threads = map {
    my $number = $_;
    threads->create(sub { my $sum = 0; $sum += $_ * $number for 1 .. 5000; $sum });
  } 1 .. 4;
  return join ',', map { $_->join } @threads;
}

sub text {
  my %count;
  my $text = join ' ', map { "word" . ($_ * 7 % 100) } 1 .. 20000;
  $count{$1}++ while $text =~ /(\w+)/g;
  return join ' ', scalar(keys %count), $count{word42}, sha256_hex($text);
}

sub files {
  mkdir "/tmp/perl";
  for my $number (1 .. 50) {
    open my $file, '>', "/tmp/perl/$number" or die "open: $!";
    print $file "x" x ($number * 10);
    close $file;
  }
  my $total = 0;
  $total += -s $_ for glob "/tmp/perl/*";
  unlink glob "/tmp/perl/*";
  rmdir "/tmp/perl" or die "rmdir: $!";
  return $total;
}

sub alarmed {
  my $rang = 0;
  local $SIG{ALRM} = sub { $rang = 1 };
  alarm 1;
  select undef, undef, undef, 5;
  return $rang ? "alarm" : "none";
}

sub processes {
  pipe my $reader, my $writer or die "pipe: $!";
  my $child = fork // die "fork: $!";
  if ($child == 0) {
    close $reader;
    print $writer "from the child\n";
    close $writer;
    POSIX::_exit(3);
  }
  close $writer;
  my $line = <$reader>;
  waitpid $child, 0;
  my $status = $? >> 8;
  my $sorted = `echo b; echo a`;
  system 'exit 4;';
  return join ' ', $line =~ s/\n//r, $status, length $sorted, $? >> 8;
}

my %pages = ('/threads' => \&ithreads, '/text' => \&text, '/files' => \&files,
             '/alarm' => \&alarmed, '/processes' => \&processes);
my $listener = IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => 8000, Listen => 100,
                                     ReuseAddr => 1) or die "listen: $!";
my $select = IO::Select->new($listener);
while (my @ready = $select->can_read) {
  for my $handle (@ready) {
    if ($handle == $listener) {
      $select->add($listener->accept);
      next;
    }
    my $request = '';
    sysread $handle, $request, 8192;
    if ($request =~ m{^GET (\S+)}) {
      my $page = $pages{$1} || sub { "hello from perl" };
      my $body = $page->();
      syswrite $handle,
          sprintf("HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s", length $body, $body);
    }
    $select->remove($handle);
    close $handle;
  }
}
