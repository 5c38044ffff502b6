# A web server with a thread for each connection, whose pages each make Ruby work.
require 'digest'
require 'json'
require 'socket'

def threads
  queue = Queue.new
  workers = (0...8).map do |number|
    Thread.new { 200.times { |value| queue << number * 200 + value } }
  end
  workers.each(&:join)
  Array.new(queue.size) { queue.pop }.sum
end

def garbage
  live = {}
  100_000.times { |n| live[n % 1000] = "text #{n}" * 10 }
  GC.start
  "#{live.size} #{GC.count > 1}"
end

def fibers
  numbers = Fiber.new { 1.step { |n| Fiber.yield n } }
  Array.new(1000) { numbers.resume }.sum
end

def json
  data = JSON.parse(JSON.generate({ 'list' => (1..1000).to_a, 'text' => 'aril' }))
  "#{data['list'].sum} #{Digest::SHA256.hexdigest(data['text'])}"
end

def processes
  reader, writer = IO.pipe
  child = fork do
    reader.close
    writer.write('from the child')
    exit!(3)
  end
  writer.close
  text = reader.read
  Process.wait(child)
  "#{text} #{$?.exitstatus} #{`echo hello | tr a-z A-Z`.chomp} #{system('exit 4')}"
end

PAGES = { '/threads' => :threads, '/garbage' => :garbage, '/fibers' => :fibers, '/json' => :json,
          '/processes' => :processes }

server = TCPServer.new('0.0.0.0', 8000)
server.listen(100)
loop do
  Thread.new(server.accept) do |client|
    path = client.gets.to_s.split[1]
    until ['', nil].include?(client.gets&.chomp) do end
    body = PAGES.key?(path) ? send(PAGES[path]).to_s : 'hello from ruby'
    client.write("HTTP/1.0 200 OK\r\nContent-Length: #{body.bytesize}\r\n\r\n#{body}")
    client.close
  rescue SystemCallError
    client.close
  end
end
