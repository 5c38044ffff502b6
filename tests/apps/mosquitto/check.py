import subprocess

import harness
from application import application
from harness import run

# CONNECT as client "probe", keep alive 60 s [MQTT 3.1.1] 3.1.
PROBE = bytes([0x10, 17]) + b"\0\4MQTT\4\2\0\x3c\0\5probe"


@application("mosquitto", "mosquitto_pub and mosquitto_sub: 1,000 messages at quality 1, wildcards, a "
             "retained message", packages=["mosquitto", "mosquitto-clients"], timeout=120)
def check(mosquitto):
    harness.need("mosquitto_pub", "mosquitto_sub")
    with mosquitto.serve(1883, probe=PROBE) as broker:
        to_broker = ["-h", broker.address, "-p", str(broker.port)]
        lines = "".join(f"message {n}\n" for n in range(1000))
        subscriber = subprocess.Popen(["mosquitto_sub", *to_broker, "-q", "1", "-t", "aril/+/news",
                                       "-C", "1000", "-W", "60"], stdout=subprocess.PIPE)
        ready = run(["mosquitto_sub", *to_broker, "-t", "$SYS/broker/version", "-C", "1", "-W", "30"])
        assert ready.startswith("mosquitto version"), ready
        run(["mosquitto_pub", *to_broker, "-q", "1", "-t", "aril/today/news", "-l"], text=lines)
        output, _ = subscriber.communicate(timeout=70)
        assert output.decode() == lines, output[-300:]
        run(["mosquitto_pub", *to_broker, "-r", "-t", "kept", "-m", "still here"])
        kept = run(["mosquitto_sub", *to_broker, "-t", "kept", "-C", "1", "-W", "30"])
        assert kept == "still here\n"
        broker.process.terminate()
        assert broker.process.wait(30) == 0
