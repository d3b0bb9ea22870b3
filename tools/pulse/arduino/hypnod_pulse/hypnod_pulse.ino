// A TTL output for `hypnod pulse`: Arduino Uno, Nano, Mega and boards compatible with them.
//
// '1' sets the pin high, '0' low; each is sent back once the pin is set. While the pin is high a '1'
// must come again at least every 500 ms: without it the pin goes low by itself, whatever became of
// the computer, and '!' is sent.

// Not 13, the board's own LED: boot loaders flash it whenever the port is opened.
const uint8_t PIN = 8;
const unsigned long KEEP_ALIVE_US = 500000;  // millis() would be 1 ms short at times

unsigned long heard_us = 0;
bool high = false;

void set(bool on) {
  digitalWrite(PIN, on ? HIGH : LOW);
  digitalWrite(LED_BUILTIN, on ? HIGH : LOW);
  high = on;
}

void setup() {
  pinMode(PIN, OUTPUT);
  pinMode(LED_BUILTIN, OUTPUT);
  set(false);
  Serial.begin(115200);
}

void loop() {
  // first the time, then what came meanwhile: what is old does not keep the pin high
  if (high && micros() - heard_us >= KEEP_ALIVE_US) {
    set(false);
    Serial.write('!');
  }
  if (Serial.available()) {
    const int byte = Serial.read();
    if (byte == '1' || byte == '0') {
      set(byte == '1');
      heard_us = micros();
      Serial.write(byte);
    }
  }
}
