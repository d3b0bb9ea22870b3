/* Runs a sketch's ELF for an ATmega328P in simavr, no faster than a real board, its UART on a
 * pseudo-terminal: the first line on standard output says which. Every edge of PB0 (pin 8) is a
 * line `<ms since the start> <0 or 1>`, by the board's own clock. With a boot loader's HEX as
 * second argument that runs first, as after the reset that opening the port brings about.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <simavr/avr_ioport.h>
#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>
#include <simavr/sim_hex.h>
#include <simavr/parts/uart_pty.h>

static const double HZ = 16e6;
static const int MCUSR_AT = 0x54, EXTRF_BIT = 1;

static void on_edge(struct avr_irq_t *irq, uint32_t value, void *avr) {
  (void)irq;
  printf("%.3f %u\n", 1e3 * ((avr_t *)avr)->cycle / HZ, value);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

static int boot(avr_t *avr, const char *hex) {
  ihex_chunk_p chunks = NULL;
  const int n = read_ihex_chunks(hex, &chunks);
  for (int i = 0; i < n; i++) memcpy(avr->flash + chunks[i].baseaddr, chunks[i].data, chunks[i].size);
  if (n < 1) return 0;
  avr->pc = avr->reset_pc = chunks[0].baseaddr;
  avr->data[MCUSR_AT] = 1 << EXTRF_BIT;
  return 1;
}

int main(int argc, char **argv) {
  elf_firmware_t firmware = {0};
  uart_pty_t uart;
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (elf_read_firmware(argv[1], &firmware) != 0) return 1;
  avr_t *avr = avr_make_mcu_by_name("atmega328p");
  if (avr == NULL) return 1;
  avr_init(avr);
  avr->frequency = HZ;
  avr_load_firmware(avr, &firmware);
  if (argc > 2 && !boot(avr, argv[2])) return 1;
  uart_pty_init(avr, &uart);
  uart_pty_connect(&uart, '0');
  printf("port %s\n", uart.pty.slavename);
  avr_irq_t *pin = avr_io_getirq(avr, AVR_IOCTL_IOPORT_GETIRQ('B'), 0);
  avr_irq_register_notify(pin, on_edge, avr);
  const double began = now();
  for (unsigned long n = 0;; n++) {
    const int state = avr_run(avr);
    if (state == cpu_Done || state == cpu_Crashed) return 1;
    if (n % 1000 == 0) {
      const double ahead = avr->cycle / HZ - (now() - began);
      if (ahead > 0.001) usleep(1e6 * ahead);
    }
  }
}
