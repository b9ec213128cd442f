# Sourced by the scripts beside it: a RocketMQ of Maven Central and its Python client, in a temporary directory.
# Needs python3, java 17 and mvn. Sets $work; everything started here ends with the script.
set -euo pipefail
work=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT

client() { # installs the Python client
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check rocketmq-python-client==5.1.2
}

python() { # runs a script on stdin with the client
    HOME=$work timeout 120 "$work/venv/bin/python" -W ignore - "$@"
}

fetch() { # VERSION: its jars, into $work/VERSION
    cat >"$work/pom.xml" <<POM
<project><modelVersion>4.0.0</modelVersion><groupId>t</groupId><artifactId>t</artifactId><version>1</version>
<dependencies>
$(for part in namesrv broker proxy tools; do
        echo "<dependency><groupId>org.apache.rocketmq</groupId><artifactId>rocketmq-$part</artifactId><version>$1</version></dependency>"
    done)
</dependencies></project>
POM
    mvn --quiet --batch-mode --file "$work/pom.xml" dependency:copy-dependencies -DoutputDirectory="$work/$1" >"$work/mvn.log" 2>&1 ||
        { tail -n 5 "$work/mvn.log" && exit 1; }
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

answers() { # PORT: waits until something listens
    for _ in $(seq 600); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
        sleep 0.2
    done
    echo "nothing listens on port $1" && exit 1
}

java_() { # VERSION CLASS ARGUMENTS...; with run=exec in this very process, so that what ends that ends java
    local version=$1
    shift
    ${run-} java -Duser.home="$work/home-$version" -Xmx512m -XX:MaxDirectMemorySize=256m \
        --add-exports java.base/jdk.internal.ref=ALL-UNNAMED --add-exports java.base/sun.nio.ch=ALL-UNNAMED \
        --add-opens java.base/java.nio=ALL-UNNAMED -cp "$work/$version/*" "$@"
}

start() { # VERSION: name server, broker and proxy; sets $namesrv, $grpc, $broker_port and $broker (a pid)
    namesrv=$(free_port) grpc=$(free_port) broker_port=$(free_port)
    mkdir -p "$work/home-$1" "$work/store-$1"
    printf '%s\n' "listenPort=$namesrv" bindAddress=127.0.0.1 >"$work/namesrv.conf"
    cat >"$work/broker.conf" <<CONF
brokerIP1=127.0.0.1
bindAddress=127.0.0.1
listenPort=$broker_port
haListenPort=$(free_port)
storePathRootDir=$work/store-$1
storePathCommitLog=$work/store-$1/commitlog
mappedFileSizeCommitLog=67108864
timerWheelEnable=true
${settings-}
CONF
    echo "{\"rocketMQClusterName\":\"DefaultCluster\",\"namesrvAddr\":\"127.0.0.1:$namesrv\",\"grpcServerPort\":$grpc,\"remotingListenPort\":$(free_port)}" >"$work/proxy.json"
    ROCKETMQ_HOME=$work/home-$1 run=exec java_ "$1" org.apache.rocketmq.namesrv.NamesrvStartup -c "$work/namesrv.conf" >"$work/namesrv.log" 2>&1 &
    pids+=($!)
    answers "$namesrv"
    ROCKETMQ_HOME=$work/home-$1 exec_broker "$1" &
    broker=$!
    pids+=("$broker")
    answers "$grpc"
}

exec_broker() { # VERSION: in this very process, so that its pid is java's
    exec java -Duser.home="$work/home-$1" -Xmx768m -XX:MaxDirectMemorySize=512m \
        --add-exports java.base/jdk.internal.ref=ALL-UNNAMED --add-exports java.base/sun.nio.ch=ALL-UNNAMED \
        --add-opens java.base/java.nio=ALL-UNNAMED -cp "$work/$1/*" \
        org.apache.rocketmq.proxy.ProxyStartup -n "127.0.0.1:$namesrv" -pm local -bc "$work/broker.conf" -pc "$work/proxy.json" \
        >"$work/broker.log" 2>&1
}

admin() { # VERSION COMMAND...: RocketMQ's own admin tool
    local version=$1
    shift
    java_ "$version" -Drocketmq.namesrv.addr="127.0.0.1:$namesrv" org.apache.rocketmq.tools.command.MQAdminStartup "$@" 2>&1 |
        grep -v -i -e slf4j -e RocketMQLog || true
}

topic() { # VERSION NAME TYPE: made, and known to the name server
    for _ in $(seq 60); do
        admin "$1" updateTopic -c DefaultCluster -t "$2" -a "+message.type=$3" | grep -q success && return
        sleep 1
    done
    echo "topic $2 can't be made" && exit 1
}
